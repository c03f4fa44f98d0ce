"""Eight-bit integers for weights and states, so that a text's vector ignores its neighbours.

The scale of a layer's states is set beforehand, or is one for each token (``activation_scales.py``
says which); the usual ``DynamicQuantizeLinear`` takes one for the whole batch, and then a vector
changes with what else was in its batch (``experiments/log/2026-11-20-int8-per-token-scales.md``).
Scales of the weights are one for each output channel, symmetric: ``q = round(127 w / max|w|)``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..graph.builder import EXTREMES_TAKE_AXES
from ..graph.layers import (
    MICROSOFT,
    Linear,
    Table,
    bias_of,
    by_states,
    constant,
    drop_unused,
    linears,
    replace,
    tables,
)
from .activation_ranges import Range
from .activation_scales import LARGEST, Scale, Way, chosen_scale

_ZERO = 128  # of unsigned states: the kernels for unsigned states are the fast ones
_TINY = 1e-9
_GELU_DEPTH = 0.17  # its minimum is -0.16997, at -0.7518
_GELU_ZERO = 16


def to_int8(model: ir.Model, ranges: Sequence[Range]) -> int:
    """Quantise linear layers and token tables in place; return how many layers that were.

    Runs on the CPU provider: ``MatMulIntegerToFloat`` has no CUDA kernel.

    Args:
        model: A float32 graph.
        ranges: Of its linear layers, in order.
    """
    pairs = [*zip(linears(model), ranges, strict=True)]
    found = [linear for linear, _ in pairs]
    groups = by_states(found)
    readers = Counter(
        matrix for group in groups for matrix in {found[number].node.inputs[1] for number in group}
    )
    shared = {matrix for matrix, count in readers.items() if count > 1}
    for group in groups:
        layers = [found[number] for number in group]
        states = layers[0].states
        scale = chosen_scale(
            [pairs[number][1] for number in group],
            [layer.matrix for layer in layers],
            shared=any(layer.node.inputs[1] in shared for layer in layers),
        )
        if scale.way is Way.TOKEN:
            _by_token(model, states, layers, shared)
        else:
            _by_scale(model, states, layers, scale, shared)
    quantise_tables(model)
    drop_unused(model)
    return len(pairs)


def quantise_tables(model: ir.Model) -> None:
    """Store token tables as int8 with a scale for each row."""
    for table in tables(model):
        _quantise_table(model, table)


def _by_scale(
    model: ir.Model,
    states: ir.Value,
    layers: Sequence[Linear],
    scale: Scale,
    shared: Set[ir.Value | None],
) -> None:
    """Quantise layers that read the same states by one scale."""
    name = states.name  # not the matrix's: other states may be multiplied with it, too
    nodes: list[ir.Node] = []
    if scale.factors is not None:
        shares = constant(model, f"{name}.shares", 1 / scale.factors)
        nodes.append(ir.node("Mul", [states, shares]))
        states = nodes[-1].outputs[0]
    step = constant(model, f"{name}.step", np.array(scale.step, np.float32))
    zero = constant(model, f"{name}.zero", np.array(scale.zero, np.uint8))
    nodes.append(ir.node("QuantizeLinear", [states, step, zero]))
    model.graph.insert_before(layers[0].node, nodes)
    for layer in layers:
        matrix = layer.matrix if scale.factors is None else layer.matrix * scale.factors[:, None]
        weights = _weights(model, layer, matrix, shared=layer.node.inputs[1] in shared)
        inputs: list[ir.Value | None] = [
            nodes[-1].outputs[0],
            weights.integers,
            step,
            weights.scales,
            zero,
            weights.zero,
        ]
        replaced = layer.node
        biased = bias_of(layer)
        if biased is not None:
            replaced, bias = biased
            inputs.append(bias)
        replace(model, replaced, [_product(inputs)])
        if biased is not None:
            model.graph.remove(layer.node, safe=True)


def _by_token(
    model: ir.Model, states: ir.Value, layers: Sequence[Linear], shared: Set[ir.Value | None]
) -> None:
    """Quantise layers that read the same states by a scale for each token."""
    zero = _GELU_ZERO if _is_gelu(states) else _ZERO
    integers, scales = _quantise_states(model, layers[0], zero)
    for layer in layers:
        weights = _weights(model, layer, layer.matrix, shared=layer.node.inputs[1] in shared)
        inputs = [
            integers,
            weights.integers,
            constant(model, "decant.one", np.array(1, np.float32)),
            weights.scales,
            constant(model, f"decant.zero.{zero}", np.array(zero, np.uint8)),
            weights.zero,
        ]
        product = _product(inputs)
        scaled = ir.node("Mul", [product.outputs[0], scales])  # (B x T, N)
        whole = ir.node("Shape", [states])
        ends = (_shape(model, 0), _last_axis(model))
        outer = ir.node("Slice", [whole.outputs[0], *ends])
        last = _shape(model, layer.matrix.shape[1])
        shape = ir.node("Concat", [outer.outputs[0], last], {"axis": 0})
        restored = ir.node("Reshape", [scaled.outputs[0], shape.outputs[0]])
        replace(model, layer.node, [product, scaled, whole, outer, shape, restored])


def _product(inputs: list[ir.Value | None]) -> ir.Node:
    """Return the product of integers, without optional inputs at the end that are not there."""
    while inputs[-1] is None:
        inputs = inputs[:-1]
    return ir.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT)


def _quantise_states(model: ir.Model, linear: Linear, zero: int) -> tuple[ir.Value, ir.Value]:
    """Add nodes that give uint8 states (B x T, K) and scales, float32 (B x T, 1)."""
    rows = ir.node("Reshape", [linear.states, _shape(model, -1, linear.matrix.shape[0])])
    scaling = _scales(model, linear, rows.outputs[0])
    scale = scaling[-1].outputs[0]  # (B x T)
    count = ir.node("Shape", [scale])
    zeros = ir.node(
        "ConstantOfShape",
        [count.outputs[0]],
        {"value": ir.tensor(np.array([zero], np.uint8))},
    )
    rounded = ir.node("QuantizeLinear", [rows.outputs[0], scale, zeros.outputs[0]], {"axis": 0})
    column = ir.node("Unsqueeze", [scale, _last_axis(model)])
    model.graph.insert_before(linear.node, [rows, *scaling, count, zeros, rounded, column])
    return rounded.outputs[0], column.outputs[0]


def _scales(model: ir.Model, linear: Linear, rows: ir.Value) -> list[ir.Node]:
    """Return nodes of which the last gives each row's size of a step, never zero."""
    highest = _extreme(model, "ReduceMax", rows)
    if _is_gelu(linear.states):
        # What Gelu gives is nowhere below -0.17: few steps reach down, the others up.
        up = constant(model, "decant.gelu.up", np.array([255 - _GELU_ZERO], np.float32))
        least = constant(
            model, "decant.gelu.step", np.array([_GELU_DEPTH / _GELU_ZERO], np.float32)
        )
        step = ir.node("Div", [highest.outputs[0], up])
        return [highest, step, ir.node("Max", [step.outputs[0], least])]
    lowest = _extreme(model, "ReduceMin", rows)
    depth = ir.node("Neg", [lowest.outputs[0]])
    tiny = constant(model, "decant.tiny", np.array([_TINY], np.float32))
    peak = ir.node("Max", [highest.outputs[0], depth.outputs[0], tiny])
    largest = constant(model, "decant.largest", np.array([LARGEST], np.float32))
    return [highest, lowest, depth, peak, ir.node("Div", [peak.outputs[0], largest])]


def _extreme(model: ir.Model, operator: str, rows: ir.Value) -> ir.Node:
    """Return a node that gives one number for each row, in the form that the opset has."""
    if model.graph.opset_imports[""] < EXTREMES_TAKE_AXES:
        return ir.node(operator, [rows], {"axes": [-1], "keepdims": 0})
    return ir.node(operator, [rows, _last_axis(model)], {"keepdims": 0})


def _is_gelu(states: ir.Value) -> bool:
    made = states.producer()
    return made is not None and made.op_type == "Gelu"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    """A layer's matrix in eight bits, (K, N), its scales (N,), and its zero; None: zero is 0."""

    integers: ir.Value
    scales: ir.Value
    zero: ir.Value | None


def _weights(
    model: ir.Model, layer: Linear, matrix: NDArray[np.float32], *, shared: bool
) -> _Weights:
    """Register a layer's matrix in int8, or in uint8 if several nodes read it.

    On x86 without VNNI, ONNX Runtime has to make int8 matrices uint8 when it opens a graph, since
    their products with uint8 states would saturate (``session.x64quantprecision``). It fails at a
    matrix of several nodes, so such a matrix is uint8 from the start.
    """
    name = layer.node.inputs[1].name if layer.node.inputs[1] is not None else None
    integers, rounded = _rounded(matrix, axis=0)
    scales = constant(model, f"{name}.scale", rounded[0])
    if not shared:
        return _Weights(
            integers=constant(model, f"{name}.int8", integers), scales=scales, zero=None
        )
    unsigned = (integers.astype(np.int16) + _ZERO).astype(np.uint8)
    return _Weights(
        integers=constant(model, f"{name}.uint8", unsigned),
        scales=scales,
        zero=constant(model, f"decant.zero.{_ZERO}", np.array(_ZERO, np.uint8)),
    )


def _shape(model: ir.Model, *sizes: int) -> ir.Value:
    name = "decant.shape." + ".".join(map(str, sizes))
    return constant(model, name, np.array(sizes, np.int64))


def _last_axis(model: ir.Model) -> ir.Value:
    return constant(model, "decant.last_axis", np.array([-1], np.int64))


def _quantise_table(model: ir.Model, table: Table) -> None:
    name = table.node.inputs[0].name if table.node.inputs[0] is not None else None
    integers, scales = _rounded(table.rows, axis=1)
    found = ir.node("Gather", [constant(model, f"{name}.int8", integers), table.ids], {"axis": 0})
    found_scales = ir.node(
        "Gather", [constant(model, f"{name}.scale", scales), table.ids], {"axis": 0}
    )
    floats = ir.node("Cast", [found.outputs[0]], {"to": ir.DataType.FLOAT.value})
    scaled = ir.node("Mul", [floats.outputs[0], found_scales.outputs[0]])
    replace(model, table.node, [found, found_scales, floats, scaled])


def _rounded(
    matrix: NDArray[np.float32], *, axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 of the matrix's shape and float32 scales, one for each slice across ``axis``."""
    scales = np.abs(matrix).max(axis=axis, keepdims=True) / np.float32(LARGEST)
    scales[scales == 0] = 1
    integers = np.clip(np.rint(matrix / scales), -LARGEST, LARGEST).astype(np.int8)
    return integers, scales.astype(np.float32)
