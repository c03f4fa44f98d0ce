"""How the inputs of linear layers go together, measured on texts of our own; for ``gptq.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from decant.embedders import Tokens

from .linears import Linear, by_states, linears
from .observing import observed
from .pen import Pen
from .plain_graph import plain_graph

_MOST = 2**28  # numbers held at a time, 2 GiB; large models run once more for each further such


def mean_moments(
    source: Path, rows: Sequence[Tokens], *, pad_id: int
) -> Iterator[NDArray[np.float64]]:
    """Yield the mean of ``x xT`` over tokens' states x for linear layers that read the same states.

    Args:
        source: A float32 graph.
        rows: At least one text; each is run alone.
        pad_id: Fills padded positions; there are none.

    Yields:
        Shape (K, K), in the order of the first layer that reads the states.
    """
    for group in _portions(_firsts(source)):
        totals = [np.zeros((width, width)) for _, width in group]
        tokens = [0] * len(group)
        wanted = {number for number, _ in group}
        for seen in observed(source, rows, _states, pad_id=pad_id, layers=wanted):
            for place, (states,) in enumerate(seen):
                wide = states.reshape(-1, len(totals[place])).astype(np.float64)
                totals[place] += wide.T @ wide
                tokens[place] += len(wide)
        while totals:  # given away one by one, so that those that were used take no memory
            yield totals.pop(0) / tokens.pop(0)


def _firsts(source: Path) -> list[tuple[int, int]]:
    """Return number and K of the first layer that reads each states."""
    layers = [*linears(plain_graph(source))]
    return [(group[0], len(layers[group[0]].matrix)) for group in by_states(layers)]


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
