"""The dense layers after pooling, with the weights of a sentence-transformers folder; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ml_dtypes  # noqa: F401 - teaches numpy the name bfloat16, which safetensors asks it for
import numpy as np
from numpy.typing import NDArray

from decant.embedders import Activation, Dense, RecipeError
from decant.embedders.sources import read_safetensors


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """``activation(weight @ x + bias)``.

    Args:
        weight: float32, shape (outputs, inputs).
        bias: float32, shape (outputs,); None if there is none.
        activation: The function after it.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    activation: Activation


def read_head(folder: Path, layers: tuple[Dense, ...]) -> tuple[Layer, ...]:
    """Read the weights of a recipe's head.

    Raises:
        RecipeError: A layer's weights are missing, have another shape, or are in a file that only
            torch can read.
    """
    return tuple(_layer(folder, layer) for layer in layers)


def _layer(folder: Path, layer: Dense) -> Layer:
    place = folder / layer.path
    weights = {
        name.removeprefix("linear."): value.astype(np.float32)
        for name, value in _weights(place).items()
    }
    expected: dict[str, tuple[int, ...]] = {"weight": (layer.outputs, layer.inputs)}
    if layer.bias:
        expected["bias"] = (layer.outputs,)
    found = {name: value.shape for name, value in weights.items()}
    if found != expected:
        raise RecipeError(
            f"the weights in {place} do not fit: its config.json asks for {expected}, and the "
            f"file holds {found}"
        )
    return Layer(weight=weights["weight"], bias=weights.get("bias"), activation=layer.activation)


def _weights(place: Path) -> dict[str, NDArray[np.generic]]:
    if (file := place / "model.safetensors").exists():
        return read_safetensors(file)
    if (place / "pytorch_model.bin").exists():
        raise RecipeError(
            f"{place} holds its weights in pytorch_model.bin, which only torch can read; save the "
            "model again with a current sentence-transformers, which writes model.safetensors"
        )
    raise RecipeError(f"{place} holds no model.safetensors")
