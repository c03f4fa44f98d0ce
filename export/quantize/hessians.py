"""How the inputs of linear layers go together, measured on texts of our own; for ``gptq.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from decant.embedders.tokens import Tokens

from ..graph.builder import Pen
from ..graph.layers import Linear, linears, narrow_first
from ..passes.plain_graph import PlainGraph
from .capture import observed

_MOST = 2**28  # numbers held at a time, 2 GiB; large models run once more for each further such
_TOGETHER = 512  # tokens of a product: of one text, sums would be read and written for little


def mean_moments(
    graph: PlainGraph, rows: Sequence[Tokens], *, pad_id: int
) -> Iterator[NDArray[np.float64]]:
    """Yield the mean of ``x xT`` over tokens' states x for linear layers that read the same states.

    Args:
        graph: The float32 graph.
        rows: At least one text; each is run alone.
        pad_id: Fills padded positions; there are none.

    Yields:
        Shape (K, K), in the order of :func:`narrow_first`.
    """
    for group in _portions(_firsts(graph)):
        sums = {number: _Sum(width) for number, width in group}
        watched = sorted(sums)  # as they come
        for seen in observed(graph, rows, _states, pad_id=pad_id, layers=sums.keys()):
            for number, (states,) in zip(watched, seen, strict=True):
                sums[number].add(states)
        for number, _ in group:  # given away one by one, so that used ones take no memory
            yield sums.pop(number).mean()


class _Sum:
    """The sum of ``x xT`` over states x of a width; products in float32, their sum in float64."""

    def __init__(self, width: int) -> None:
        self._total = np.zeros((width, width))
        self._tokens = 0
        self._waiting: list[NDArray[np.float32]] = []

    def add(self, states: NDArray[np.float32]) -> None:
        """Count states of any shape whose last axis is the width."""
        self._waiting.append(states.reshape(-1, len(self._total)))
        if sum(map(len, self._waiting)) >= _TOGETHER:
            self._multiply()

    def mean(self) -> NDArray[np.float64]:
        """Return the mean over at least one token; the sum is gone afterwards."""
        self._multiply()
        self._total /= self._tokens
        return self._total

    def _multiply(self) -> None:
        if self._waiting:
            rows = np.concatenate(self._waiting)
            self._total += rows.T @ rows
            self._tokens += len(rows)
            self._waiting.clear()


def _firsts(graph: PlainGraph) -> list[tuple[int, int]]:
    """Return number and K of the first layer that reads each states, narrow ones first."""
    layers = [*linears(graph.model)]
    return [(group[0], len(layers[group[0]].matrix)) for group in narrow_first(layers)]


def _states(_: Pen, linear: Linear) -> list[ir.Value]:
    return [linear.states]


def _portions(layers: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Cut layers, by number and K, into runs whose moments have at most so many numbers."""
    portion: list[tuple[int, int]] = []
    for number, width in layers:
        if portion and sum(other**2 for _, other in portion) + width**2 > _MOST:
            yield portion
            portion = []
        portion.append((number, width))
    if portion:
        yield portion
