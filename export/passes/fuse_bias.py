"""Let float32 products add their bias: ``MatMul`` and ``Add`` of a vector become one ``Gemm``.

ONNX Runtime fuses them for states of two axes alone, and those of a transformer have three. On the
CPU ``Gemm`` starts from the bias, where ``Add`` reads and writes all that was computed once more
(``experiments/log/2026-11-28-w4-gptq-and-fused-biases.md``). Other precisions are made
from products and sums, which ``plain_graph.py`` restores.
"""

from __future__ import annotations

import onnx_ir as ir

from ..graph.builder import FLOAT, Pen
from ..graph.layers import Linear, bias_of, linears

_RANK = 3


def fuse_biases(model: ir.Model) -> int:
    """Fuse biases in place; return how many.

    Args:
        model: A traced graph with shapes. States (B, T, K) of which a size has no name, or T is a
            number, are left as they are: reshapes cannot be told to be inverses there.
    """
    graph = model.graph
    work = _Fusing(graph)
    for layer in linears(model):
        work.visit(layer)
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

    def visit(self, layer: Linear) -> None:
        """Fuse a layer with its bias, if it has one and states of three known axes."""
        biased = bias_of(layer)
        if biased is None or not _has_named_axes(layer.states):
            return
        adding, bias = biased
        matrix, old = layer.node.inputs[1], adding.outputs[0]
        width = layer.matrix.shape[1]
        rows = self._pen("Gemm", [self._as_rows(layer.states), matrix, bias])
        rows.dtype, rows.shape = FLOAT, ir.Shape([None, width])
        made = self._pen("Reshape", [rows, self._shape(layer.states, width)])
        made.dtype, made.shape = FLOAT, layer.node.outputs[0].shape
        ir.convenience.replace_all_uses_with(old, made, replace_graph_outputs=True)
        self._graph.remove([adding, layer.node], safe=True)
        self.count += 1

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

    def _shape(self, states: ir.Value, width: int) -> ir.Value:
        """Return B, T and a width."""
        assert states.shape is not None
        outer = tuple(states.shape[:2])
        if outer not in self._outer:
            self._outer[outer] = self._pen("Shape", [states], {"start": 0, "end": 2})
        if (outer, width) not in self._shapes:
            parts = [self._outer[outer], self._pen.integers(width)]
            self._shapes[outer, width] = self._pen("Concat", parts, {"axis": 0})
        return self._shapes[outer, width]


def _has_named_axes(states: ir.Value) -> bool:
    """Tell whether a value is (B, T, K), B and T free and with names."""
    shape = states.shape
    return shape is not None and len(shape) == _RANK and all(
        isinstance(size, ir.SymbolicDim) and size.value is not None for size in shape[:2]
    )  # fmt: skip
