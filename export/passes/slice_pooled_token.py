"""Let poolings that read one token compute the end of the last layer for that token alone.

Behind the last attention no token sees another (output projection, residual, MLP, norms), yet a
traced graph computes all that for the T tokens of a row, and FIRST and LAST read one of them. From
the pooled sum backwards, this pass collects the nodes that provably treat every token by itself and
that nothing else reads. Values that enter them are gathered at the row's token; the nodes stay as
they are, with one token where there were T. What cannot be proved, or is read elsewhere, keeps all
tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from decant.embedders import Pooling

from ..graph.builder import INT64, Pen

ONE_TOKEN = frozenset({Pooling.FIRST, Pooling.LAST})
# Of ``pool``, of a sparse head's last logits, and of sealed graphs; all weigh one token of a row.
SUM = "bt,btd->bd"
POINTWISE = {
    "Abs", "Add", "Cast", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Gelu", "Greater",
    "Identity", "LeakyRelu", "Less", "Log", "Max", "Min", "Mul", "Neg", "Not", "Pow",
    "Reciprocal", "Relu", "Sigmoid", "Softplus", "Sqrt", "Sub", "Tanh", "Where",
}  # fmt: skip
# Along the width: what they reduce has size 1, and their outputs still have all rows and tokens.
_REDUCING = {
    "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare",
}  # fmt: skip
# What works along one axis, and the axis where none is said.
ALONG = {
    "LayerNormalization": -1, "RMSNormalization": -1, "SimplifiedLayerNormalization": -1,
    "Softmax": -1, "Split": 0,
}  # fmt: skip
_RANK = 3
_LAST_AXIS = (-1, _RANK - 1)
_MATRIX_RANK = 2


def prune_unread(model: ir.Model, pooling: Pooling) -> int:
    """Compute states that only a pooling of one token reads for that token alone, in place.

    Args:
        model: A graph with the shapes that are known; its pooled sums are those of ``pooling``.
        pooling: The recipe's; it is not guessed from the graph.

    Returns:
        How many values have one token a row now; 0 if the graph is as it was.
    """
    if pooling not in ONE_TOKEN:
        return 0
    graph = model.graph
    count = 0
    for weights, nodes in pooled_sums(graph).items():
        layout = _Layout(weights)
        readers = [node for node in nodes if layout.has_tokens(node.inputs[1])]
        region = _behind(graph, readers, layout)
        # A gather is worth it for products alone.
        if any(node.op_type == "MatMul" for node in region):
            count += _narrow(graph, [*region, *readers], layout)
    if count:
        graph.sort()
    return count


def pooled_sums(graph: ir.Graph) -> dict[ir.Value, list[ir.Node]]:
    """Return the nodes that pool tokens, by their weights (B, T): the same read the same token."""
    sums: dict[ir.Value, list[ir.Node]] = {}
    for node in graph:
        if node.op_type == "Einsum" and node.attributes["equation"].as_string() == SUM:
            weights = node.inputs[0]
            assert weights is not None
            sums.setdefault(weights, []).append(node)
    return sums


class _Layout:
    """Tells values that have tokens from those that have none, by their shapes.

    Args:
        weights: How much each token counts, (B, T).
    """

    def __init__(self, weights: ir.Value) -> None:
        self.weights = weights
        self.outer = () if weights.shape is None else tuple(weights.shape)
        # A size without a name may be any.
        self._known = len(self.outer) == _RANK - 1 and all(
            isinstance(size, int) or size.value is not None for size in self.outer
        )

    def has_tokens(self, value: ir.Value | None) -> bool:
        """Tell whether a value is (B, T, any)."""
        if value is None or value.shape is None or not self._known:
            return False
        return len(value.shape) == _RANK and tuple(value.shape[:2]) == self.outer

    def treats_alone(self, node: ir.Node) -> bool:
        """Tell whether a node gives (B, T, any), each token's of that token's inputs alone."""
        if node.domain or not all(self.has_tokens(value) for value in node.outputs):
            return False
        kind, inputs = node.op_type, node.inputs
        if kind == "MatMul":
            return self.has_tokens(inputs[0]) and _rank(inputs[1]) == _MATRIX_RANK
        if not all(self.has_tokens(value) or _for_all(value) for value in inputs):
            return False
        if kind in ALONG:
            axis = node.attributes.get("axis")
            return (ALONG[kind] if axis is None else axis.as_int()) in _LAST_AXIS
        return kind in POINTWISE | _REDUCING


def _behind(graph: ir.Graph, readers: Iterable[ir.Node], layout: _Layout) -> list[ir.Node]:
    """Return the nodes that treat tokens alone and whose outputs end in ``readers`` only."""
    inside = {*readers}
    found = []
    for node in reversed(graph):
        if layout.treats_alone(node) and all(_ends_in(value, inside) for value in node.outputs):
            inside.add(node)
            found.append(node)
    return found


def _ends_in(value: ir.Value, nodes: set[ir.Node]) -> bool:
    """Tell whether a value is read, and by nothing else; branches and outputs are readers, too."""
    readers = {use.node for use in value.uses()}
    return bool(readers) and readers <= nodes and not value.is_graph_output()


def _narrow(graph: ir.Graph, nodes: list[ir.Node], layout: _Layout) -> int:
    """Gather the row's token of what enters ``nodes``; return how many values became one token."""
    pen = Pen(graph)
    at = pen("ArgMax", [layout.weights], {"axis": 1, "keepdims": 1})  # (B, 1)
    place = pen("Unsqueeze", [at, pen.integers(-1)])  # (B, 1, 1)
    at.dtype = place.dtype = INT64
    inner = {value for node in nodes for value in node.outputs if layout.has_tokens(value)}
    gathered: dict[ir.Value, ir.Value] = {}
    for node in nodes:
        for index, value in enumerate(node.inputs):
            if value is None or value in inner:
                continue
            if value is layout.weights or layout.has_tokens(value):
                if value not in gathered:
                    # It takes one index a row; GatherElements would want one for each number.
                    gathered[value] = pen("GatherND", [value, place], {"batch_dims": 1})
                    gathered[value].type = value.type
                    gathered[value].shape = _one_token(value)
                node.replace_input_with(index, gathered[value])
    for value in inner:
        value.shape = _one_token(value)
    return len(inner)


def _one_token(value: ir.Value) -> ir.Shape:
    assert value.shape is not None
    rows, _, *rest = value.shape
    return ir.Shape([rows, 1, *rest])


def _for_all(value: ir.Value | None) -> bool:
    """Tell whether a value is the same for every token: it has one, or no axis for them."""
    if value is None:
        return True
    return value.shape is not None and all(size == 1 for size in value.shape[:-1])


def _rank(value: ir.Value | None) -> int:
    return -1 if value is None or value.shape is None else len(value.shape)
