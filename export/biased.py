"""Let float32 products add their bias: ``MatMul`` and ``Add`` of a vector become one ``Gemm``.

ONNX Runtime fuses them for states of two axes alone, and those of a transformer have three. On the
CPU ``Gemm`` starts from the bias, where ``Add`` reads and writes all that was computed once more
(EXPERIMENTS.md). Other precisions are made from products and sums, which
``plain_graph.py`` restores.
"""

from __future__ import annotations

import onnx_ir as ir

from .pen import FLOAT, Pen

_RANK = 3
_MATRIX_RANK = 2


def fuse_biases(model: ir.Model) -> int:
    """Fuse biases in place; return how many.

    Args:
        model: A traced graph with shapes. States (B, T, K) of which a size has no name, or T is a
            number, are left as they are: reshapes cannot be told to be inverses there.
    """
    graph = model.graph
    work = _Fusing(graph)
    for node in list(graph):
        work.visit(node)
    if work.count:
        graph.sort()
    return work.count


class _Fusing:
    """Values that were made for other layers already: states as rows, and shapes.

    Args:
        graph: Nodes are added to it; unsorted afterwards.

    Attributes:
        count: How many layers were fused.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._pen = Pen(graph)
        self._rows: dict[ir.Value, ir.Value] = {}
        self._outer: dict[tuple[object, ...], ir.Value] = {}
        self._shapes: dict[tuple[object, ...], ir.Value] = {}
        self.count = 0

    def visit(self, adding: ir.Node) -> None:
        """Fuse a node that adds a constant vector to a product that nothing else reads."""
        if adding.op_type != "Add" or adding.domain:
            return
        for given, bias in (adding.inputs, reversed(adding.inputs)):
            product = None if given is None else given.producer()
            if product is None or bias is None or not _is_product(product, bias):
                continue
            self._fuse(product, adding, bias)
            self.count += 1
            return

    def _fuse(self, product: ir.Node, adding: ir.Node, bias: ir.Value) -> None:
        states, matrix = product.inputs
        assert states is not None
        assert bias.shape is not None
        old = adding.outputs[0]
        sum_of_rows = self._pen("Gemm", [self._as_rows(states), matrix, bias])
        sum_of_rows.dtype, sum_of_rows.shape = FLOAT, ir.Shape([None, bias.shape[0]])
        made = self._pen("Reshape", [sum_of_rows, self._shape(states, bias)])
        made.dtype, made.shape = FLOAT, product.outputs[0].shape
        ir.convenience.replace_all_uses_with(old, made, replace_graph_outputs=True)
        self._graph.remove([adding, product], safe=True)

    def _as_rows(self, states: ir.Value) -> ir.Value:
        """Return states (B x T, K)."""
        if states not in self._rows:
            assert states.shape is not None
            width = states.shape[-1]
            assert isinstance(width, int)
            rows = self._pen("Reshape", [states, self._pen.integers(-1, width)])
            rows.dtype, rows.shape = FLOAT, ir.Shape([None, width])
            self._rows[states] = rows
        return self._rows[states]

    def _shape(self, states: ir.Value, bias: ir.Value) -> ir.Value:
        """Return B, T and the bias's size."""
        assert states.shape is not None
        assert bias.shape is not None
        outer, width = tuple(states.shape[:2]), bias.shape[0]
        assert isinstance(width, int)
        if outer not in self._outer:
            self._outer[outer] = self._pen("Shape", [states], {"start": 0, "end": 2})
        if (outer, width) not in self._shapes:
            parts = [self._outer[outer], self._pen.integers(width)]
            self._shapes[outer, width] = self._pen("Concat", parts, {"axis": 0})
        return self._shapes[outer, width]


def _is_product(node: ir.Node, bias: ir.Value) -> bool:
    """Tell whether a node is a product of states and a constant matrix that takes a bias."""
    if node.op_type != "MatMul" or node.domain or len(node.outputs[0].uses()) != 1:
        return False
    states, matrix = node.inputs
    if states is None or matrix is None or node.outputs[0].is_graph_output():
        return False
    if not (matrix.is_initializer() and bias.is_initializer() and matrix.dtype == FLOAT):
        return False
    if matrix.shape is None or len(matrix.shape) != _MATRIX_RANK:
        return False
    named = states.shape is not None and len(states.shape) == _RANK and all(
        isinstance(size, ir.SymbolicDim) and size.value is not None for size in states.shape[:2]
    )  # fmt: skip
    return named and bias.shape is not None and tuple(bias.shape) == (matrix.shape[1],)
