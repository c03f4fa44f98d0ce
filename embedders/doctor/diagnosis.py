"""What runs here and what does not: packages, execution providers, a bundle's graphs.

Every result is a :class:`Finding`, good or bad: nothing is printed, and a broken part raises no
error. This module checks packages; ``sessions.py`` checks what needs a session.
"""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from ..distribution import DISTRIBUTION, install_command
from ..errors import MissingExtra
from .findings import Diagnosis, Finding, good, note, problem

# Builds of one and the same Python package; any two of them overwrite each other's files.
_RUNTIMES = (
    "onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino",
    "onnxruntime-rocm", "onnxruntime-migraphx", "onnxruntime-webgpu",
)  # fmt: skip
_EXTRAS = (
    "onnx",
    "openvino",
    "export",
    "training",
    "docs",
    "gguf",
    "evaluation",
    "mteb",
    "langchain",
    "langchain-qdrant",
    "llama-index",
    "sentence-transformers",
    "server",
    "telemetry",
)


def diagnose(bundle: str | Path | None = None) -> Diagnosis:
    """Check this installation and, if a bundle is given, how its graphs run here.

    Args:
        bundle: A bundle's folder; each of its graphs runs once on every provider that opens.
    """
    found = [_system(), *_base(), *_runtimes()]
    broken = _broken_runtime()
    if broken is not None:
        found.append(broken)
    else:
        from . import sessions as doctor_sessions

        found += doctor_sessions.check_sessions(None if bundle is None else Path(bundle))
    return Diagnosis(findings=(*found, *_stores(), *_extras()))


def _system() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ", ".join(
        f"{name} {_version(name)}" for name in (DISTRIBUTION, "numpy", "tokenizers")
    )
    machine = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return good("system", "python", f"{machine}, {cores} cores; {packages}")


def _base() -> Iterator[Finding]:
    """Yield a problem for each required package that is installed in an unfit version."""
    for requirement in _requirements():
        if unfit := _unfit(requirement):
            yield problem("system", requirement.name, unfit, f"pip install '{requirement}'")


def _runtimes() -> Iterator[Finding]:
    """Yield the installed distributions of ONNX Runtime; more than one is a problem."""
    present = [name for name in _RUNTIMES if _version(name) is not None]
    ours = {one.name: one for extra in ("cpu", "gpu") for one in _requirements(extra)}
    for name in present:
        if name in ours and (unfit := _unfit(ours[name])):
            yield problem("runtime", name, unfit, f"pip install '{ours[name]}'")
        else:
            yield good("runtime", name, str(_version(name)))
    if len(present) > 1:
        extra = "gpu" if "onnxruntime-gpu" in present else "cpu"
        yield problem(
            "runtime",
            "conflict",
            f"{' and '.join(present)} are both installed and overwrite each other's files",
            f"pip uninstall -y {' '.join(present)} && {install_command(extra)}",
        )


def _broken_runtime() -> Finding | None:
    """Return why ONNX Runtime cannot be imported; None if it can."""
    try:
        importlib.import_module("..onnx.session", __package__)
    except MissingExtra:
        return problem(
            "runtime",
            "onnxruntime",
            "not installed, so no model can run",
            f"{install_command('cpu')}, or with an NVIDIA GPU: {install_command('gpu')}",
        )
    except ImportError as error:
        return problem(
            "runtime",
            "onnxruntime",
            f"installed, but does not import: {error}",
            f"pip install --force-reinstall '{DISTRIBUTION}[cpu]'",
        )
    return None


def _stores() -> Iterator[Finding]:
    for name, use in (("qdrant-edge-py", "folders"), ("qdrant-client", "servers")):
        found = _version(name)
        if found is not None:
            yield good("store", name, f"{found}, for {use}")
        else:
            yield problem("store", name, f"not installed: no {use}", f"pip install {DISTRIBUTION}")


def _extras() -> Iterator[Finding]:
    """Yield whether each extra is complete, by the requirements in decant's own metadata."""
    for extra in _EXTRAS:
        needed = [*_requirements(extra)]
        versions = {one.name: _version(one.name) for one in needed}
        advice = install_command(extra)
        if absent := [name for name, found in versions.items() if found is None]:
            yield note("extra", extra, f"not installed (no {', '.join(absent)})", advice)
        elif wrong := [unfit for one in needed if (unfit := _unfit(one))]:
            yield note("extra", extra, "; ".join(wrong), advice)
        else:
            shown = ", ".join(f"{name} {found}" for name, found in versions.items())
            yield good("extra", extra, shown)


def _requirements(extra: str | None = None) -> Iterator[Requirement]:
    """Yield the requirements of the base, or those of an extra and of the extras in it."""
    for line in requires(DISTRIBUTION) or ():
        requirement = Requirement(line)
        marker, requirement.marker = requirement.marker, None
        if marker is None:
            wanted = extra is None
        else:
            wanted = extra is not None and marker.evaluate({"extra": extra})
        if wanted and requirement.name == DISTRIBUTION:
            for inner in sorted(requirement.extras):
                yield from _requirements(inner)
        elif wanted:
            yield requirement


def _unfit(requirement: Requirement) -> str:
    """Return why an installed version does not fit; empty if it fits or is not installed."""
    found = _version(requirement.name)
    if found is None or requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement.name} is {found}, which decant is not made for: it takes {requirement}"


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
