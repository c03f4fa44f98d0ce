"""What a number was measured on: processor, cores, versions, command."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from decant.embedders.distribution import DISTRIBUTION
from decant.embedders.onnx import available_cores, instruction_sets, processor

_PACKAGES = (
    DISTRIBUTION,
    "fastapi",
    "fastembed",
    "flash-attn",
    "langchain-huggingface",
    "langchain-qdrant",
    "llama-index-core",
    "llama-index-embeddings-huggingface",
    "llama-index-vector-stores-qdrant",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "qdrant-client",
    "qdrant-edge-py",
    "sentence-transformers",
    "tokenizers",
    "starlette",
    "torch",
    "transformers",
    "uvicorn",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """When, where and how a benchmark ran.

    Args:
        date: UTC, ISO 8601.
        command: What was typed, as far as it is known.
        processor: The model's name.
        instruction_sets: Those of its instruction sets on which matrix products depend.
        cores: How many this process may use.
        load: Runnable processes on the machine, averaged over the last minute, before the run;
            above a few tenths it was not quiet.
        python: The interpreter's version.
        versions: Of the installed packages that matter.
    """

    date: str
    command: str
    processor: str
    instruction_sets: tuple[str, ...]
    cores: int
    load: float
    python: str
    versions: dict[str, str]


def circumstances(arguments: Sequence[str] | None = None) -> Circumstances:
    """Return them for a run with these command-line arguments, by default this process's."""
    script, *typed = sys.argv
    return Circumstances(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", script, *(typed if arguments is None else arguments)]),
        processor=processor(),
        instruction_sets=instruction_sets(),
        cores=available_cores(),
        load=os.getloadavg()[0],
        python=platform.python_version(),
        versions=installed(_PACKAGES),
    )


def installed(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
