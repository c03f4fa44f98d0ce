"""Name a machine, so that figures measured on it are not used on another machine."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

from ...bundle.precision import Precision
from .options import available_cores
from .table import Provider, find_provider

# Slowest first, as Linux names them on x86 and on ARM.
_FOR_PRODUCTS = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)
_PATIENCE = 10.0  # seconds; the driver may have to wake the GPU


def processor() -> str:
    """Return the processor's name as the system reports it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return f"{value.strip()}, {platform.machine()}"
    return platform.processor() or platform.machine()


def processor_features() -> frozenset[str]:
    """Return the names of the processor's instruction sets; empty where the system hides them."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):  # on x86, and on ARM
                return frozenset(value.split())
    return frozenset()


def instruction_sets() -> tuple[str, ...]:
    """Return those of the processor's instruction sets on which matrix products depend."""
    return tuple(name for name in _FOR_PRODUCTS if name in processor_features())


def unsupported(row: Provider, precision: Precision) -> str:
    """Return why a provider does not run a precision on this machine; empty if it may run it."""
    if (why := dict(row.refused).get(precision)) is not None:
        runs = ", ".join(row.precisions)
        return f"{row.full_name} does not run {precision}: {why}; it runs {runs}"
    wanted = dict(row.instructions).get(precision, frozenset())
    if not wanted or wanted & processor_features():
        return ""
    fault = "round products wrongly" if precision is Precision.INT8 else "be slow"
    return (
        f"{row.full_name} would emulate {precision} on this processor ({processor()}), which shows "
        f"none of {', '.join(sorted(wanted))}, and {fault}; pass precision='fp32'"
    )


def machine_name(provider: str, *, device: int = 0) -> str:
    """Return what a provider's speed depends on: processor and usable cores, or the GPU's name.

    Args:
        provider: ONNX Runtime's full name.
        device: The GPU's number. If its name is unknown (no ``nvidia-smi``), the processor's name
            is used.
    """
    if not find_provider(provider).is_cpu and (gpu := _gpu(device)):
        return gpu
    return f"{processor()}, {available_cores()} cores"


def peak_memory_mb() -> int | None:
    """Return the peak memory of this process in 2**20 bytes; None if the system hides it."""
    # Not ru_maxrss, because a child starts with its parent's value.
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = status.read_text(encoding="ascii").splitlines()
    held = next(line for line in lines if line.startswith("VmHWM"))
    return round(int(held.split()[1]) / 1024)


def _gpu(device: int) -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    asked = [tool, "--query-gpu=name", "--format=csv,noheader", f"--id={device}"]
    try:
        found = subprocess.run(  # noqa: S603 - a fixed command
            asked, capture_output=True, text=True, check=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()
