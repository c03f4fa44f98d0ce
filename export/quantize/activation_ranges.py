"""How large the inputs of linear layers are: measured on texts, for scales that are set beforehand.

The texts are of our own, in several languages and lengths, and others than the certificate's: what
fits these ranges badly shall show there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from decant.embedders.tokens import Tokens

from ..graph.builder import Pen
from ..graph.layers import Linear
from ..passes.plain_graph import PlainGraph
from .capture import observed

_TINY = 1e-20


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What was seen of a linear layer, over all tokens; typical means the geometric mean.

    The few tokens with huge states that most models have would decide an arithmetic mean, and the
    texts are in the others.

    Args:
        low: The least value of each of K inputs, float32 (K,).
        high: The greatest.
        squares: The square of each input of a typical token, float64 (K,).
        peak: The typical square of a token's largest magnitude.
        signal: The typical sum of the squares of what the layer gives for a token.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    squares: NDArray[np.float64]
    peak: float
    signal: float

    @classmethod
    def joined(cls, seen: Sequence[Sequence[NDArray[np.float32]]]) -> Self:
        """Join what was watched of single texts; see :func:`measure_ranges`."""
        low, high, shares, peak, energy, signal, count = zip(*seen, strict=True)
        tokens = float(np.sum(count))
        shared = np.asarray(np.sum(shares, axis=0), np.float64) / tokens
        return cls(
            low=np.min(low, axis=0),
            high=np.max(high, axis=0),
            squares=shared * _typical(energy, tokens),
            peak=_typical(peak, tokens),
            signal=_typical(signal, tokens),
        )


def _typical(logarithms: Sequence[NDArray[np.float32]], tokens: float) -> float:
    return float(np.exp(np.sum(logarithms, dtype=np.float64) / tokens))


def measure_ranges(graph: PlainGraph, rows: Sequence[Tokens], *, pad_id: int) -> list[Range]:
    """Return the ranges of a float32 graph's linear layers, in the order of :func:`linears`.

    Args:
        graph: The graph.
        rows: At least one text.
        pad_id: Fills padded positions.
    """
    seen = [*observed(graph, rows, _watch, pad_id=pad_id)]
    return [Range.joined(layer) for layer in zip(*seen, strict=True)]


def _watch(pen: Pen, linear: Linear) -> list[ir.Value]:
    """Add extremes, shares, logarithms and the number of a text's T tokens."""
    inputs, outputs = linear.matrix.shape
    states = pen("Reshape", [linear.states, pen.integers(-1, inputs)])  # (T, K)
    given = pen("Reshape", [linear.node.outputs[0], pen.integers(-1, outputs)])
    first, last, tiny = pen.integers(0), pen.integers(1), pen.number(_TINY)
    squares = pen("Mul", [states, states])
    energy = pen("Add", [pen("ReduceSum", [squares, last]), tiny])  # (T, 1)
    signal = pen("Add", [pen("ReduceSum", [pen("Mul", [given, given]), last]), tiny])
    peak = pen("Add", [pen.extreme("ReduceMax", squares, 1, keepdims=True), tiny])
    tokens = pen("Gather", [pen("Shape", [states]), first])
    count = pen("Cast", [tokens], {"to": int(ir.DataType.FLOAT)})
    return [
        pen.extreme("ReduceMin", states, 0, keepdims=False),
        pen.extreme("ReduceMax", states, 0, keepdims=False),
        pen("ReduceSum", [pen("Div", [squares, energy]), first], {"keepdims": 0}),
        *(pen("ReduceSum", [pen("Log", [value])]) for value in (peak, energy, signal)),
        count,
    ]
