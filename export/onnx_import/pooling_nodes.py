"""Nodes behind token states: pooling, dense layers, width and normalisation, in float32.

Formulas: :class:`~decant.embedders.Pooling`; tests compare the results with ``numpy_pooling.py``
and with PyTorch. Only operators with the same form from opset 14 on are used, except for ReduceMax.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np
import onnx_ir

from decant.embedders import Activation, Pooling, Recipe

from ..graph.builder import FLOAT, INT64, Pen
from ..passes.slice_pooled_token import SUM
from .dense_weights import Layer

_TINY = 1e-9
_SHORTEST = 1e-12  # torch.nn.functional.normalize's eps
_LOWEST = float(np.finfo(np.float32).min)


def finished(
    pen: Pen,
    hidden: onnx_ir.Value,
    counted: onnx_ir.Value,
    recipe: Recipe,
    head: Sequence[Layer],
) -> onnx_ir.Value:
    """Add nodes that make vectors of token states, and return the vectors, float32 (B, D).

    Args:
        pen: Adds nodes to the graph.
        hidden: The token states, any float type, (B, T, d).
        counted: int64, (B, T); 1 where a token counts.
        recipe: Pooling, width and normalisation.
        head: The recipe's dense layers.
    """
    vectors = _pooled(pen, pen.cast(hidden, FLOAT), counted, recipe.pooling)  # (B, d)
    for layer in head:
        inputs = [vectors, pen.constant(layer.weight)]
        if layer.bias is not None:
            inputs.append(pen.constant(layer.bias))
        vectors = _activated(pen, pen("Gemm", inputs, {"transB": 1}), layer.activation)
    if recipe.dim is not None:
        ends = [pen.integers(0), pen.integers(recipe.dim), pen.integers(1)]
        vectors = pen("Slice", [vectors, *ends])
    if recipe.normalize:
        squares = pen("ReduceSum", [pen("Mul", [vectors, vectors]), pen.integers(1)])
        length = pen("Max", [pen("Sqrt", [squares]), pen.number(_SHORTEST)])
        vectors = pen("Div", [vectors, length])
    # A node of its own, so that no value of the original is renamed.
    return pen("Identity", [vectors])


def _pooled(
    pen: Pen, states: onnx_ir.Value, mask: onnx_ir.Value, pooling: Pooling
) -> onnx_ir.Value:
    """Pool float32 states (B, T, d) to (B, d)."""
    absent = pen("Unsqueeze", [pen("Equal", [mask, pen.integers(0)]), pen.integers(-1)])
    # Zero times NaN is NaN, so states of padded tokens are replaced, not multiplied by zero.
    fill = pen.number(_LOWEST if pooling is Pooling.MAX else 0.0)
    kept = pen("Where", [absent, fill, states])  # (B, T, d)
    if pooling is Pooling.MAX:
        return pen.extreme("ReduceMax", kept, 1, keepdims=False)
    # The same form as the traced ``pool``, which ``passes/slice_pooled_token.py`` searches for.
    return pen("Einsum", [_weights(pen, mask, pooling), kept], {"equation": SUM})


def _weights(pen: Pen, mask: onnx_ir.Value, pooling: Pooling) -> onnx_ir.Value:
    """Return the weight of each token, float32 (B, T)."""
    seen = pen.seen(mask)  # (B, T)
    match pooling:
        case Pooling.MEAN | Pooling.MEAN_SQRT:
            counts = mask
        case Pooling.WEIGHTED_MEAN:
            counts = pen("Mul", [mask, seen])
        case Pooling.FIRST:
            counts = pen("Mul", [mask, _same(pen, seen, pen.integers(1))])
        case Pooling.LAST:
            total = pen("ReduceSum", [mask, pen.integers(1)])  # (B, 1)
            counts = pen("Mul", [mask, _same(pen, seen, total)])
        case Pooling.MAX:
            raise AssertionError("max pooling has no weights")
        case _:
            assert_never(pooling)
    weights = pen("Cast", [counts], {"to": int(FLOAT)})
    divisor = pen("ReduceSum", [weights, pen.integers(1)])  # (B, 1)
    if pooling is Pooling.MEAN_SQRT:
        divisor = pen("Sqrt", [divisor])
    return pen("Div", [weights, pen("Max", [divisor, pen.number(_TINY)])])


def _same(pen: Pen, first: onnx_ir.Value, second: onnx_ir.Value) -> onnx_ir.Value:
    return pen("Cast", [pen("Equal", [first, second])], {"to": int(INT64)})


def _activated(pen: Pen, values: onnx_ir.Value, activation: Activation) -> onnx_ir.Value:
    match activation:
        case Activation.IDENTITY:
            return values
        case Activation.TANH:
            return pen("Tanh", [values])
        case Activation.RELU:
            return pen("Relu", [values])
        case Activation.GELU:  # exact; Gelu as one operator exists from opset 20 on
            error = pen("Erf", [pen("Mul", [values, pen.number(0.5**0.5)])])
            twice = pen("Mul", [values, pen("Add", [error, pen.number(1.0)])])
            return pen("Mul", [twice, pen.number(0.5)])
        case _:
            assert_never(activation)
