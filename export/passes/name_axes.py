"""Name the rows and tokens among the axes of a finished graph's values, as far as can be proved.

Graphs made by others say little about shapes, and under names of their own. Inference from our
inputs names most axes, and loses the names where position embeddings are cut out of a table: that
the cut is as long as the text is no matter of shapes. But a pooled sum takes states (B, T, d), and
operators that work number by number never make an axis smaller: whatever goes into those states
through such operators alone has T tokens or one, and so T where one of its own inputs has T. That
is the stream of residuals, from the embeddings on. Named there, inference names what hangs on it.
No weight is read.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from .slice_pooled_token import ALONG, POINTWISE, pooled_sums

_RANK = 3
_MATRIX_RANK = 2


def name_axes(model: ir.Model) -> None:
    """Give every value the shape that is known of it, in place, and none where it is not.

    Args:
        model: A finished graph of inputs (B, T), whose names its outputs' shapes share.
    """
    graph = model.graph
    given = {value: value.shape for value in graph.outputs}
    named: dict[ir.Value, ir.Shape] = {}
    while True:
        for node in graph.all_nodes():
            for value in node.outputs:
                value.shape = named.get(value, given.get(value))
        # Not strict: operators that have no inference, such as Microsoft's, are passed over.
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
        # Inference puts a number in place of a name, where states meet a constant as long as that:
        # what was named stays so, and is not found again.
        found = {value: shape for value, shape in _proved(graph).items() if value not in named}
        if not found:
            return
        named.update(found)


def _proved(graph: ir.Graph) -> dict[ir.Value, ir.Shape]:
    """Return the shapes of what has the pooled states' rows and tokens, but not their names."""
    found: dict[ir.Value, ir.Shape] = {}
    for weights, sums in pooled_sums(graph).items():
        if weights.shape is None or len(weights.shape) != _RANK - 1:
            continue
        outer = tuple(weights.shape)
        stream = {node.inputs[1] for node in sums}  # of rows and tokens as pooled, or of one
        for node in reversed(graph):
            if any(value in stream for value in node.outputs):
                stream.update(_growing(node))
        for node in graph:
            for value in node.outputs:
                shape = found.get(value, value.shape)
                if value not in stream or shape is None or tuple(shape[:2]) == outer:
                    continue
                into = [found.get(one, one.shape) for one in _growing(node)]
                if any(one is not None and tuple(one[:2]) == outer for one in into):
                    found[value] = ir.Shape([*outer, shape[2]])
    return found


def _growing(node: ir.Node) -> list[ir.Value]:
    """Return inputs whose first two of three axes are at most as long as the output's, or of 1."""
    if node.domain:
        return []
    match node.op_type:
        case "MatMul":
            inputs = node.inputs[:1] if _rank(node.inputs[1]) == _MATRIX_RANK else ()
        case kind if kind in POINTWISE:
            inputs = node.inputs
        case kind if kind in ALONG and kind != "Split":
            inputs = node.inputs[:1]
        case _:
            inputs = ()
    return [value for value in inputs if value is not None and _rank(value) == _RANK]


def _rank(value: ir.Value | None) -> int:
    return -1 if value is None or value.shape is None else len(value.shape)
