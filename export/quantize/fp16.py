"""Linear layers and token tables in float16, everything else in float32.

For models whose states leave the range of float16 (largest finite value 65,504: IEEE 754-2019,
binary16), such as Gemma's: norms, residuals, softmax and pooling keep float32, and so do the
layers that the probes show to overflow.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..certify.any_certifier import AnyCertifier
from ..graph.builder import Pen
from ..graph.layers import Linear, Table, constant, drop_unused, linears, replace, tables
from ..passes.plain_graph import PlainGraph
from .capture import observed

_LARGEST = 65_504.0
_MARGIN = 4.0  # other texts may go further than the probes


def to_half(model: ir.Model, graph: PlainGraph, certifier: AnyCertifier) -> int:
    """Put linear layers and token tables into float16 in place; return how many layers there are.

    Args:
        model: A copy of ``graph``.
        graph: The float32 graph.
        certifier: Its probes are run to see where float16 would overflow.
    """
    peaks = _peaks(graph, certifier)
    count = 0
    for linear, peak in zip(linears(model), peaks, strict=True):
        if max(peak, float(np.abs(linear.matrix).max())) * _MARGIN < _LARGEST:
            _to_half(model, linear)
        count += 1
    for table in tables(model):
        if float(np.abs(table.rows).max()) < _LARGEST:
            _table_to_half(model, table)
    drop_unused(model)
    return count


def _to_half(model: ir.Model, linear: Linear) -> None:
    name = linear.node.inputs[1].name if linear.node.inputs[1] is not None else None
    weights: NDArray[np.float16] = linear.matrix.astype(np.float16)
    states = ir.node("Cast", [linear.states], {"to": ir.DataType.FLOAT16.value})
    product = ir.node("MatMul", [states.outputs[0], constant(model, f"{name}.fp16", weights)])
    replace(model, linear.node, [states, product, *_widened(product, instead=linear.node)])


def _table_to_half(model: ir.Model, table: Table) -> None:
    name = table.node.inputs[0].name if table.node.inputs[0] is not None else None
    rows = constant(model, f"{name}.fp16", table.rows.astype(np.float16))
    found = ir.node("Gather", [rows, table.ids], {"axis": 0})
    replace(model, table.node, [found, *_widened(found, instead=table.node)])


def _widened(node: ir.Node, *, instead: ir.Node) -> list[ir.Node]:
    """Return what makes float32 of a node's output, which is read where ``instead`` was."""
    wide = ir.node("Cast", [node.outputs[0]], {"to": ir.DataType.FLOAT.value})
    if not _is_averaged(instead.outputs[0]):
        return [wide]
    # A norm of plain operators, such as DeBERTa's. ONNX Runtime (1.31) takes a cast before it into
    # its LayerNormalization, whose input and scale must have one type; a sum of one stands between.
    return [wide, ir.node("Sum", wide.outputs)]


def _is_averaged(value: ir.Value) -> bool:
    """Tell whether a mean is read of a value, or of it behind casts, as optimum-onnx writes it."""
    readers = [use.node for use in value.uses()]
    return any(
        node.op_type == "ReduceMean" or (node.op_type == "Cast" and _is_averaged(node.outputs[0]))
        for node in readers
    )


def _peaks(graph: PlainGraph, certifier: AnyCertifier) -> list[float]:
    """Return the largest magnitude of each layer's input and output on the probes."""
    rows = certifier.rows()
    seen = observed(graph, rows, _peak, pad_id=certifier.pad_id)
    return [float(np.max(layer)) for layer in zip(*seen, strict=True)]


def _peak(pen: Pen, linear: Linear) -> list[ir.Value]:
    magnitudes = [pen("Abs", [value]) for value in (linear.states, linear.node.outputs[0])]
    return [pen("ReduceMax", [value], {"keepdims": 0}) for value in magnitudes]
