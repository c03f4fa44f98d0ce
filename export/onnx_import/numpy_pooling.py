"""Pool the token states of one unpadded text, in plain numpy.

It is the reference for imported graphs, so it shares no code with ``complete.py``: one text, no
mask, no batch, float64. Formulas: :class:`~decant.embedders.Pooling`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Activation, Pooling, Recipe

from .dense_weights import Layer

Floats = NDArray[np.float64]
_SHORTEST = 1e-12  # torch.nn.functional.normalize's eps

_erf = np.vectorize(math.erf, otypes=[np.float64])


def plain_vector(
    states: NDArray[np.float32], *, recipe: Recipe, pooling: Pooling, head: Sequence[Layer]
) -> NDArray[np.float32]:
    """Return the vector of one text.

    Args:
        states: The states of the pooled tokens, in order, shape (t, d), t at least 1.
        recipe: Width and normalisation.
        pooling: The recipe's pooling, or another one to compare with.
        head: The recipe's dense layers.

    Returns:
        float32, shape (D,).
    """
    vector = _pooled(states.astype(np.float64), pooling)
    for layer in head:
        vector = layer.weight.astype(np.float64) @ vector
        if layer.bias is not None:
            vector = vector + layer.bias
        vector = _activated(vector, layer.activation)
    if recipe.dim is not None:
        vector = vector[: recipe.dim]
    if recipe.normalize:
        vector = vector / max(float(np.linalg.norm(vector)), _SHORTEST)
    return vector.astype(np.float32)


def _pooled(states: Floats, pooling: Pooling) -> Floats:
    count = len(states)
    match pooling:
        case Pooling.MEAN:
            return np.asarray(states.sum(axis=0) / count)
        case Pooling.MEAN_SQRT:
            return np.asarray(states.sum(axis=0) / math.sqrt(count))
        case Pooling.WEIGHTED_MEAN:
            ranks = np.arange(1, count + 1, dtype=np.float64)
            return np.asarray((ranks[:, None] * states).sum(axis=0) / ranks.sum())
        case Pooling.FIRST:
            return np.asarray(states[0])
        case Pooling.LAST:
            return np.asarray(states[-1])
        case Pooling.MAX:
            return np.asarray(states.max(axis=0))
        case _:
            assert_never(pooling)


def _activated(vector: Floats, activation: Activation) -> Floats:
    match activation:
        case Activation.IDENTITY:
            return vector
        case Activation.TANH:
            return np.tanh(vector)
        case Activation.RELU:
            return np.maximum(vector, 0.0)
        case Activation.GELU:  # exact: x times the normal distribution function
            return np.asarray(vector * 0.5 * (1.0 + _erf(vector / math.sqrt(2.0))))
        case _:
            assert_never(activation)
