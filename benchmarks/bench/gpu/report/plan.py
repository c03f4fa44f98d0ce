"""Which steps there are, the most important first: what proves before what measures.

First what the machine is, the tests and certificates of the smallest model; then the real shapes;
then speeds; in the end the precisions that are made on the processor, and TensorRT.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from decant.embedders.onnx import installed_providers, provider_name

from .steps import Step

TENSORRT = "tensorrt"
_SCRIPT = Path(__file__).resolve().parents[3] / "gpu_report.py"
_ROOT = _SCRIPT.parents[1]


class Part(StrEnum):
    """What is done with one model on one provider, in a process of its own.

    MACHINE: names the machine; needs no model. CERTIFY: makes the model and its traced graphs,
    certifies them, and sees where nodes run. QUANTIZE: the same for the graphs that are converted.
    SPEED: against PyTorch and sentence-transformers. BINDING: with outputs bound and not.
    """

    MACHINE = "machine"
    CERTIFY = "certify"
    QUANTIZE = "quantize"
    SPEED = "speed"
    BINDING = "binding"


_LEAST = {
    Part.MACHINE: 5.0,
    Part.CERTIFY: 30.0,
    Part.QUANTIZE: 60.0,
    Part.SPEED: 60.0,
    Part.BINDING: 20.0,
}
_PROOF_AND_SPEED = (Part.CERTIFY, Part.SPEED)
_DOES = {
    Part.CERTIFY: "certificates and where nodes run",
    Part.QUANTIZE: "certificates of int8, w8 and w4",
    Part.SPEED: "speed, latency and memory",
    Part.BINDING: "outputs bound and not",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the plan is made of.

    Args:
        folder: Where everything goes.
        provider: The short name of the provider that is owed: ``cuda``.
        models: Names of models, the most important first.
        further: Arguments that every step of a model is given.
    """

    folder: Path
    provider: str
    models: tuple[str, ...]
    further: tuple[str, ...] = ()


def plan(wanted: Wanted) -> list[Step]:
    """Return the steps in the order in which they run."""
    first, *others = wanted.models
    early, late = wanted.models[:2], wanted.models[2:]

    def parts(part: Part, *models: str) -> list[Step]:
        return [_part(wanted, part, model, wanted.provider) for model in models]

    return [
        *parts(Part.MACHINE, ""),
        _doctor(),
        *parts(Part.CERTIFY, first),
        _tests(wanted),
        *parts(Part.CERTIFY, *others[:1]),
        *parts(Part.SPEED, *early),
        *parts(Part.BINDING, first),
        *(step for model in late for part in _PROOF_AND_SPEED for step in parts(part, model)),
        *parts(Part.BINDING, *others),
        *parts(Part.QUANTIZE, *wanted.models),
        *(_part(wanted, Part.CERTIFY, model, TENSORRT) for model in wanted.models),
        _part(wanted, Part.SPEED, first, TENSORRT),
    ]


def choose(steps: Sequence[Step], names: Sequence[str]) -> list[Step]:
    """Return the steps with these names, in the plan's order.

    Raises:
        ValueError: No step has one of the names.
    """
    known = [step.name for step in steps]
    if lost := [name for name in names if name not in known]:
        raise ValueError(f"no step is called {', '.join(lost)}; known are {', '.join(known)}")
    return [step for step in steps if step.name in names]


def _part(wanted: Wanted, part: Part, model: str, provider: str) -> Step:
    told = [*(["--subject", model] if model else []), "--provider", provider]
    return Step(
        name=step_name(part, model, provider),
        title=f"{model} on {provider}: {_DOES[part]}" if model else "driver, device and versions",
        command=(
            sys.executable, str(_SCRIPT), "part", part.value, str(wanted.folder), *told,
            *wanted.further,
        ),
        least=_LEAST[part],
        lacking=lacking(provider) if provider == TENSORRT else "",
    )  # fmt: skip


def step_name(part: Part, model: str, provider: str) -> str:
    """Return the name of a part's step, for example ``cuda-minilm-speed``."""
    return f"{provider}-{model}-{part}" if model else str(part)


def _doctor() -> Step:
    return Step(
        name="doctor",
        title="decant doctor --json",
        command=(sys.executable, "-m", "decant.cli", "doctor", "--json"),
        output="doctor.json",
    )


def _tests(wanted: Wanted) -> Step:
    return Step(
        name="tests",
        title="the tests that are marked gpu",
        command=(
            sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider",
            f"--rootdir={_ROOT}", f"--junitxml={wanted.folder / 'tests.xml'}",
            *map(str, gpu_tests()),
        ),
        least=60.0,
        output="tests.txt",
    )  # fmt: skip


def gpu_tests() -> list[Path]:
    """Return the test files with the mark ``gpu``: reading them is quicker than collecting all."""
    files = sorted((_ROOT / "tests").rglob("test_*.py"))
    return [file for file in files if "pytest.mark.gpu" in file.read_text(encoding="utf-8")]


def lacking(provider: str) -> str:
    """Return why a provider cannot run here; empty if nothing speaks against it."""
    if provider_name(provider) not in installed_providers():
        return f"this onnxruntime was built without {provider_name(provider)}"
    libraries = ("tensorrt", "tensorrt_libs", "tensorrt_cu13_libs", "tensorrt_cu12_libs")
    if provider == TENSORRT and not any(map(importlib.util.find_spec, libraries)):
        return "TensorRT's libraries are not installed: pip install tensorrt"
    return ""
