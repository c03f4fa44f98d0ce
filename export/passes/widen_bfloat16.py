"""Let graphs of other precisions compute in float32 what a model computes in bfloat16.

Falcon multiplies its ALiBi biases in bfloat16, whatever its weights are, and no CPU kernel of ONNX
Runtime does that; casts it has. A product, sum or quotient of two bfloat16 numbers, computed in
float32 and rounded, is what PyTorch gives on the CPU, bit for bit: it computes them that way.
"""

from __future__ import annotations

import onnx_ir as ir

_EXACT = {"Add", "Div", "Mul", "Neg", "Sub"}
_WIDE, _NARROW = ir.DataType.FLOAT, ir.DataType.BFLOAT16


def widen_bfloat16(model: ir.Model) -> int:
    """Rewrite arithmetic between bfloat16 values in place; return how many nodes there were.

    Args:
        model: A traced graph with types, of float32 or float16 weights.
    """
    count = 0
    for node in list(model.graph):
        if node.op_type in _EXACT and node.outputs[0].dtype is _NARROW:
            _widen(model.graph, node)
            count += 1
    return count


def _widen(graph: ir.Graph, node: ir.Node) -> None:
    casts = [ir.node("Cast", [value], {"to": _WIDE}) for value in node.inputs]
    graph.insert_before(node, casts)
    for index, cast in enumerate(casts):
        node.replace_input_with(index, cast.outputs[0])
    output = node.outputs[0]
    rounded = ir.node("Cast", [output], {"to": _NARROW})
    rounded.outputs[0].shape, rounded.outputs[0].type = output.shape, ir.TensorType(_NARROW)
    output.replace_all_uses_with(rounded.outputs[0])
    rounded.replace_input_with(0, output)
    graph.insert_after(node, rounded)
    output.type = ir.TensorType(_WIDE)
