"""Choose how the states that enter linear layers become eight bits: the cheapest way that is good.

Rounding to a step adds noise of step²/12 to each number (uniform rounding error); what a layer
gives then holds the noise of its inputs, weighted by its matrix, and that of its rounded matrix.
Each way below is judged by the ratio of that noise to the signal, for a typical token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from .activation_ranges import Range

LARGEST = 127.0
"""Of signed eight bits; symmetric, so -128 is not used."""
_STEPS = 255.0
# Measured (experiments/log/2026-11-28-int8-static-scales.md): up to here vectors are nearer to
# float32 than with scales for each token everywhere, and most layers need none.
MOST_NOISE = 1e-3
_MARGIN = 1.05  # other texts may go further than those that were measured
_EVENLY = 0.5  # the exponent of SmoothQuant, its best for most models
_TINY = 1e-5


class Way(StrEnum):
    """How states become integers, cheapest first."""

    ONCE = "once"
    """One scale and zero for all states of a layer, set beforehand."""
    SMOOTHED = "smoothed"
    """The same, after each input is divided by a factor that its weights take over (SmoothQuant,
    arXiv 2211.10438, section 4)."""
    TOKEN = "token"  # noqa: S105 - of a text
    """A scale for each token (LLM.int8(), arXiv 2208.07339, section 3.1, "vector-wise")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How the states of a layer are rounded.

    Args:
        way: The rest is nothing for TOKEN.
        step: The size of an integer step.
        zero: The unsigned integer that stands for 0.
        factors: What the inputs are divided by, float32 (K,); None for all but SMOOTHED.
    """

    way: Way
    step: float = 1.0
    zero: int = 0
    factors: NDArray[np.float32] | None = None


def chosen_scale(
    found: Sequence[Range], matrices: Sequence[NDArray[np.float32]], *, shared: bool
) -> Scale:
    """Return the cheapest way with little noise; where none has, the one with the least.

    Args:
        found: What was seen of each layer that reads the states.
        matrices: Of the same layers, each float32 (K, N).
        shared: Whether other states are multiplied with one of the matrices, too. They are stored
            once, and cannot take over factors of several states.
    """
    noises: list[tuple[float, Scale]] = []
    for way in Way:
        if shared and way is Way.SMOOTHED:
            continue
        scale = _scale(way, found[0], matrices)
        pairs = zip(found, matrices, strict=True)
        noises.append((max(_noise(scale, seen, matrix) for seen, matrix in pairs), scale))
        if noises[-1][0] <= MOST_NOISE:
            return scale
    return min(noises, key=lambda item: item[0])[1]


def _scale(way: Way, found: Range, matrices: Sequence[NDArray[np.float32]]) -> Scale:
    match way:
        case Way.ONCE:
            return _between(way, found.low, found.high, None)
        case Way.SMOOTHED:
            factors = _factors(found, matrices)
            return _between(way, found.low / factors, found.high / factors, factors)
        case Way.TOKEN:
            return Scale(way=way)
        case _:
            assert_never(way)


def _between(
    way: Way,
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    factors: NDArray[np.float32] | None,
) -> Scale:
    """Return a scale for numbers from the least to the greatest, zero among them."""
    least, greatest = min(float(low.min()), 0.0), max(float(high.max()), 0.0)
    step = max(_MARGIN * (greatest - least) / _STEPS, _TINY)
    return Scale(way=way, step=step, zero=round(-_MARGIN * least / step), factors=factors)


def _factors(found: Range, matrices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Share the difficulty between states and weights; the factors' geometric mean is 1."""
    states = np.maximum(np.maximum(-found.low, found.high), _TINY)
    weights = np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0)
    factors = states**_EVENLY / np.maximum(weights, _TINY) ** (1 - _EVENLY)
    return np.asarray(factors / np.exp(np.log(factors).mean()), np.float32)


def _noise(scale: Scale, found: Range, matrix: NDArray[np.float32]) -> float:
    """Return the square of what rounding adds to a typical token, over that of what there is."""
    factors = np.ones(len(found.squares)) if scale.factors is None else scale.factors
    squared = found.peak / LARGEST**2 if scale.way is Way.TOKEN else scale.step**2
    of_states = squared * float(np.square(matrix * factors[:, None]).sum())
    steps = np.abs(matrix * factors[:, None]).max(axis=0) / LARGEST  # (N,)
    of_weights = float(np.square(steps).sum() * (found.squares / np.square(factors)).sum())
    return (of_states + of_weights) / 12 / found.signal
