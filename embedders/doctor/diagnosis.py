"""What runs here and what does not: packages, execution providers, a bundle's graphs.

Everything is reported as a :class:`Finding`, good or bad; nothing is printed, and of what is
broken nothing raises. Here are the packages; what needs a session is in ``sessions.py``.
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
    "onnxruntime-rocm", "onnxruntime-migraphx",
)  # fmt: skip
_EXTRAS = (
    "onnx",
    "export",
    "training",
    "docs",
    "evaluation",
    "mteb",
    "langchain",
    "llama-index",
    "sentence-transformers",
)


def diagnose(bundle: str | Path | None = None) -> Diagnosis:
    """Look at this installation and, if one is given, at how a bundle runs on it.

    Args:
        bundle: A bundle's folder; each of its graphs runs once on every provider that opens.
    """
    found = [_system(), *_base(), *_runtimes()]
    broken = _broken_runtime()
    if broken is not None:
        found.append(broken)
    else:
        from . import sessions as doctor_sessions

        found += doctor_sessions.look(None if bundle is None else Path(bundle))
    return Diagnosis(findings=(*found, *_stores(), *_extras()))


def _system() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    packages = ", ".join(
        f"{name} {_version(name)}" for name in (DISTRIBUTION, "numpy", "tokenizers")
    )
    machine = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return good("system", "python", f"{machine}, {cores} cores; {packages}")


def _base() -> Iterator[Finding]:
    """Name what everything needs and is installed in a version that does not go with it."""
    for requirement in _requirements():
        if unfit := _unfit(requirement):
            yield problem("system", requirement.name, unfit, f"pip install '{requirement}'")


def _runtimes() -> Iterator[Finding]:
    """Say which distributions of ONNX Runtime there are; one is right."""
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
    """Say why ONNX Runtime does not import, if so."""
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
    """Say which optional parts are complete, by what our own metadata says they need."""
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
    """Yield what the base needs, or what an extra adds to it, the extras in it included."""
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
    """Say of what is installed in a version that does not do; empty if it does, or is absent."""
    found = _version(requirement.name)
    if found is None or requirement.specifier.contains(found, prereleases=True):
        return ""
    return f"{requirement.name} is {found}, which decant is not made for: it takes {requirement}"


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
