"""Eight-bit integers for weights and states, so that a text's vector ignores its neighbours.

Scales of the states are one for each token, so they depend on nothing but that token (per-token
dynamic quantisation: LLM.int8(), arXiv 2208.07339, section 3.1, "vector-wise"); the usual
``DynamicQuantizeLinear`` takes one for the whole batch, and then a vector changes with what else
was in its batch (EXPERIMENTS.md). Scales of the weights are one for each output channel.
Both are symmetric: ``q = round(127 x / max|x|)``.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .linears import MICROSOFT, Linear, Table, constant, drop_unused, linears, replace, tables

_LARGEST = 127.0
_ZERO = 128  # of unsigned states: the kernels for unsigned states are the fast ones
_TINY = 1e-9
_GELU_DEPTH = 0.17  # its minimum is -0.16997, at -0.7518


def to_int8(model: ir.Model) -> int:
    """Quantise linear layers and token tables in place; return how many layers that were.

    Runs on the CPU provider: ``MatMulIntegerToFloat`` has no CUDA kernel.
    """
    quantised: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
    count = 0
    for linear in linears(model):
        if linear.states not in quantised:
            quantised[linear.states] = _quantise_states(model, linear)
        _multiply(model, linear, *quantised[linear.states])
        count += 1
    quantise_tables(model)
    drop_unused(model)
    return count


def quantise_tables(model: ir.Model) -> None:
    """Store token tables as int8 with a scale for each row."""
    for table in tables(model):
        _quantise_table(model, table)


def _quantise_states(model: ir.Model, linear: Linear) -> tuple[ir.Value, ir.Value]:
    """Add nodes that give uint8 states (B x T, K) and scales, float32 (B x T, 1)."""
    rows = ir.node("Reshape", [linear.states, _shape(model, -1, linear.matrix.shape[0])])
    peaks = _peaks(model, linear, rows.outputs[0])
    largest = constant(model, "decant.largest", np.array([_LARGEST], np.float32))
    scale = ir.node("Div", [peaks[-1].outputs[0], largest])  # (B x T)
    count = ir.node("Shape", [scale.outputs[0]])
    zero = ir.node(
        "ConstantOfShape",
        [count.outputs[0]],
        {"value": ir.tensor(np.array([_ZERO], np.uint8))},
    )
    rounded = ir.node(
        "QuantizeLinear", [rows.outputs[0], scale.outputs[0], zero.outputs[0]], {"axis": 0}
    )
    column = ir.node("Unsqueeze", [scale.outputs[0], _last_axis(model)])
    nodes = [rows, *peaks, scale, count, zero, rounded, column]
    model.graph.insert_before(linear.node, nodes)
    return rounded.outputs[0], column.outputs[0]


def _peaks(model: ir.Model, linear: Linear, rows: ir.Value) -> list[ir.Node]:
    """Return nodes of which the last gives each row's largest magnitude, never zero.

    What Gelu gives is nowhere below -0.17, so its largest magnitude is its maximum or that.
    """
    axis = _last_axis(model)
    highest = ir.node("ReduceMax", [rows, axis], {"keepdims": 0})
    producer = linear.states.producer()
    if producer is not None and producer.op_type == "Gelu":
        least = constant(model, "decant.gelu", np.array([_GELU_DEPTH], np.float32))
        return [highest, ir.node("Max", [highest.outputs[0], least])]
    lowest = ir.node("ReduceMin", [rows, axis], {"keepdims": 0})
    depth = ir.node("Neg", [lowest.outputs[0]])
    tiny = constant(model, "decant.tiny", np.array([_TINY], np.float32))
    peak = ir.node("Max", [highest.outputs[0], depth.outputs[0], tiny])
    return [highest, lowest, depth, peak]


def _shape(model: ir.Model, *sizes: int) -> ir.Value:
    name = "decant.shape." + ".".join(map(str, sizes))
    return constant(model, name, np.array(sizes, np.int64))


def _last_axis(model: ir.Model) -> ir.Value:
    return constant(model, "decant.last_axis", np.array([-1], np.int64))


def _multiply(model: ir.Model, linear: Linear, states: ir.Value, scale: ir.Value) -> None:
    name = linear.node.inputs[1].name if linear.node.inputs[1] is not None else None
    integers, scales = _rounded(linear.matrix, axis=0)
    product = ir.node(
        "MatMulIntegerToFloat",
        [
            states,
            constant(model, f"{name}.int8", integers),
            constant(model, "decant.one", np.array(1, np.float32)),
            constant(model, f"{name}.scale", scales[0]),
            constant(model, "decant.zero", np.array(_ZERO, np.uint8)),
        ],
        domain=MICROSOFT,
    )
    scaled = ir.node("Mul", [product.outputs[0], scale])  # (B x T, N)
    outer = ir.node("Shape", [linear.states], {"start": 0, "end": -1})
    shape = ir.node("Concat", [outer.outputs[0], _shape(model, len(scales[0]))], {"axis": 0})
    restored = ir.node("Reshape", [scaled.outputs[0], shape.outputs[0]])
    replace(model, linear.node, [product, scaled, outer, shape, restored])


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
    scales = np.abs(matrix).max(axis=axis, keepdims=True) / np.float32(_LARGEST)
    scales[scales == 0] = 1
    integers = np.clip(np.rint(matrix / scales), -_LARGEST, _LARGEST).astype(np.int8)
    return integers, scales.astype(np.float32)
