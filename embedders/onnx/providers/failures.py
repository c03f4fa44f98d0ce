"""Why a provider did not open or run a graph, and what to do: one error for each kind of cause.

Runtimes raise errors of no common class, so that only their text tells a full memory from a missing
library. Nothing here decides what runs: a provider that failed is an error, and never replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Final, assert_never

from ...bundle.precision import Precision
from ...errors import MissingExtra, OutOfMemoryError, ProviderError, need
from .table import CPU, Provider

_MOST_CHARACTERS = 400  # of a runtime's own text


class Cause(StrEnum):
    """What a runtime's error says.

    MEMORY: the device's memory is full. LOST: the device stopped, and with it every session.
    DEVICE: there is no such device, or its driver does not answer. LIBRARY: a library is missing or
    broken. VERSION: versions do not fit. OTHER: anything else.
    """

    MEMORY = "memory"
    LOST = "lost"
    DEVICE = "device"
    LIBRARY = "library"
    VERSION = "version"
    OTHER = "other"


# Parts of the texts of ONNX Runtime, CUDA, HIP, DirectML, Dawn (WebGPU), OpenCL and OpenVINO, in
# lower case. Memory comes first: a full memory also shows as a kernel or an engine that failed.
_SIGNS: Final[tuple[tuple[Cause, tuple[str, ...]], ...]] = (
    (
        Cause.MEMORY,
        (
            "failed to allocate memory",
            "bfcarena",
            "bad_alloc",
            "bad allocation",
            "out of memory",
            "out_of_memory",
            "outofmemory",
            "out_of_device_memory",
            "out_of_host_memory",
            "memoryallocation",
            "status_alloc_failed",
            "mem_object_allocation_failure",
            "cl_out_of_resources",
            "exceeded max size of memory",
            "insufficient memory",
            "not enough memory",
            "8007000e",  # E_OUTOFMEMORY of DirectX
        ),
    ),
    (
        Cause.LOST,
        (
            "device lost",
            "device was lost",
            "device is lost",
            "device_lost",
            "device removed",
            "device_removed",
            "887a0005",  # DXGI_ERROR_DEVICE_REMOVED
            "illegal memory access",
            "unspecified launch failure",
        ),
    ),
    (
        Cause.VERSION,
        (
            "driver version is insufficient",
            "no kernel image is available",
            "unsupported model ir version",
            "is under development and support",
            "requested api version",
            "is not a registered function/op",
        ),
    ),
    (
        Cause.DEVICE,
        (
            "no cuda-capable device",
            "no rocm-capable device",
            "no hip gpus",
            "invalid device ordinal",
            "no device",
            "device not found",
            "failed to get a webgpu adapter",
            "no webgpu adapter",
            "no adapter",
        ),
    ),
    (
        Cause.LIBRARY,
        (
            "failed to load library",
            "cannot open",
            "cannot load library",
            "loadlibrary failed",
            "undefined symbol",
            "invalid elf header",
            "image not found",
            "dlopen",
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What was tried.

    Args:
        row: The provider.
        path: The graph.
        runtime: The runtime and its version, for example ``onnxruntime 1.31.1``.
    """

    row: Provider
    path: Path
    runtime: str


def cause_of(error: Exception) -> Cause:
    """Return what a runtime's error says.

    >>> cause_of(RuntimeError("CUDA failure 2: out of memory ; GPU=0"))
    <Cause.MEMORY: 'memory'>
    """
    if isinstance(error, MemoryError):
        return Cause.MEMORY
    text = str(error).lower()
    for cause, signs in _SIGNS:
        if any(sign in text for sign in signs):
            return cause
    return Cause.OTHER


def opening_error(attempt: Attempt, error: Exception, *, said: str = "") -> ProviderError:
    """Return the error of a graph that did not open.

    Args:
        attempt: What was tried.
        error: The runtime's.
        said: What to quote of it; empty takes its first line and the one that says the cause.
    """
    row, cause = attempt.row, cause_of(error)
    match cause:
        case Cause.MEMORY:
            remedy = (
                f"its memory does not hold the graph: take {_smaller(row)}, close what else uses "
                "that memory, or take another device"
            )
        case _:
            remedy = _remedy(row, cause)
    return _error(
        cause,
        f"{row.full_name} does not open {attempt.path} ({attempt.runtime}): "
        f"{said or first_words(error)}; {remedy}{_or_the_cpu(row)}",
    )


def running_error(
    attempt: Attempt, error: Exception, *, shape: tuple[int, ...], said: str = ""
) -> ProviderError:
    """Return the error of a graph that is open and did not run a batch.

    Args:
        attempt: What was tried.
        error: The runtime's.
        shape: Rows and tokens of the batch.
        said: What to quote of it; empty takes its first line and the one that says the cause.
    """
    row, cause = attempt.row, cause_of(error)
    rows, width = shape
    match cause:
        case Cause.MEMORY:
            remedy = (
                "its memory does not hold this batch: pass "
                f"runtime=ExecutionOptions(token_budget=N) with N below {rows * width:,}, or fewer "
                f"workers, or take {_smaller(row)}"
            )
        case Cause.OTHER:
            remedy = "take another precision, or fewer tokens in a batch"
        case _:
            remedy = _remedy(row, cause)
    return _error(
        cause,
        f"{row.full_name} does not run {attempt.path} on a batch of shape {shape} "
        f"({attempt.runtime}): {said or first_words(error)}; {remedy}{_or_the_cpu(row)}",
    )


def check_runs_there(attempt: Attempt, running: Sequence[str], nodes: dict[str, int]) -> None:
    """Refuse a session that fell back.

    Args:
        attempt: What was tried.
        running: The session's providers, first the one with precedence.
        nodes: How many nodes each provider was given; empty if the runtime does not say.

    Raises:
        ProviderError: The provider is not the session's first, or was given no node.
    """
    row = attempt.row
    if [*running[:1]] != [row.full_name]:
        raise ProviderError(
            f"asked for {row.full_name}, but the session runs on "
            f"{running[0] if running else 'nothing'}; its libraries did not load, or there is no "
            "device. Run `decant doctor`, which names missing libraries, install: "
            f"{row.advice}{_or_the_cpu(row)}"
        )
    if nodes and not nodes.get(row.full_name):
        others = ", ".join(f"{count} on {name}" for name, count in nodes.items())
        raise ProviderError(
            f"asked for {row.full_name}, and it takes no node of {attempt.path} "
            f"({attempt.runtime}): {others}; take another precision{_or_the_cpu(row)}"
        )


def import_runtime(module: str, *, extra: str) -> ModuleType:
    """Import and return a runtime's package.

    Args:
        module: The module to import, for example ``"openvino"``.
        extra: The extra of decant that installs it.

    Raises:
        MissingExtra: It is not installed.
        ProviderError: It is installed and does not import.
    """
    try:
        return need(module, extra=extra)
    except MissingExtra:
        raise
    except Exception as error:
        raise broken_package(module, error) from error


def broken_package(module: str, error: Exception) -> ProviderError:
    """Return the error of a package that is installed and does not import.

    Such is a library of another system, or of an interrupted installation.
    """
    return ProviderError(
        f"the package {module} is installed and does not import: {first_words(error)}; run: pip "
        f"install --force-reinstall {module}"
    )


def first_words(error: Exception) -> str:
    """Return the first line of an error, and the one that says the cause where that is another."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    found = [lines[0], *_telling(lines[1:])] if not list(_telling(lines[:1])) else lines[:1]
    return " … ".join(found[:2])[:_MOST_CHARACTERS]


def _telling(lines: Iterable[str]) -> Iterable[str]:
    every = [sign for _, signs in _SIGNS for sign in signs]
    return (line for line in lines if any(sign in line.lower() for sign in every))


def _error(cause: Cause, text: str) -> ProviderError:
    return OutOfMemoryError(text) if cause is Cause.MEMORY else ProviderError(text)


def _remedy(row: Provider, cause: Cause) -> str:
    match cause:
        case Cause.LOST:
            return "the device stopped: look after its driver, and load the bundle in a new process"
        case Cause.DEVICE:
            return "look after the device and its driver, or take another device"
        case Cause.LIBRARY:
            return f"run `decant doctor`, which names missing libraries, and install: {row.advice}"
        case Cause.VERSION:
            return f"install versions that fit, the driver's too: {row.advice}"
        case Cause.OTHER | Cause.MEMORY:
            return "take another precision"
        case _:
            assert_never(cause)


def _smaller(row: Provider) -> str:
    names = [str(one) for one in row.precisions if one is not Precision.FP32]
    return f"a smaller precision ({', '.join(names)})"


def _or_the_cpu(row: Provider) -> str:
    return "" if row.full_name == CPU else ", or pass provider='cpu'"
