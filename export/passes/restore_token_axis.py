"""Give layers that put the tokens of all rows on one axis their (B, T, width) back.

GPT-2's ``Conv1D`` and OPT's MLP reshape states to (B x T, width) and back again, and a product
there is traced as ``Gemm``, which no other pass looks for; graphs that others made have ``MatMul``
of such rows, too. Reshapes that put B and T on one axis are pushed behind what treats each row by
itself until they meet their inverses, where both go. A ``Gemm`` becomes ``MatMul`` and ``Add``, as
the layers of other models are.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ..graph.builder import Pen

_MATRIX_RANK = 2
_STATES_RANK = 3
_POINTWISE = {
    "Add", "Cast", "Clip", "Div", "Erf", "Exp", "Gelu", "Identity", "Mul", "Neg", "Pow", "Relu",
    "Sigmoid", "Sqrt", "Sub", "Tanh",
}  # fmt: skip
_ALONG_WIDTH = {"LayerNormalization", "Softmax"}
_LAST_AXES = (-1, _MATRIX_RANK - 1)


def unflatten(model: ir.Model) -> int:
    """Rewrite flat layers in place; return how many products there were.

    Args:
        model: A traced graph with shapes. One without such products is left as it is.
    """
    graph = model.graph
    if not any(_is_product(node) for node in graph):
        return 0
    work = _Unflattening(graph)
    for node in list(graph):
        work.visit(node)
    if work.products:
        work.finish()
        graph.sort()
    RemoveUnusedNodesPass()(model)
    return work.products


class _Unflattening:
    """Values (B x T, width) and what holds the same as (B, T, width).

    Args:
        graph: Nodes are added to it; finished by :meth:`finish`.

    Attributes:
        products: How many were rewritten.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._pen = Pen(graph)
        self._whole: dict[ir.Value, ir.Value] = {}
        self._restored: dict[ir.Value, ir.Value] = {}
        self._upright: dict[ir.Value, ir.Value] = {}
        self.products = 0

    def visit(self, node: ir.Node) -> None:
        """Find the whole form of what a node gives, if it has one; nodes come in order."""
        if node.domain or len(node.outputs) != 1 or node.outputs[0].is_graph_output():
            return
        output = node.outputs[0]
        if node.op_type == "Reshape":
            self._reshape(node, output)
        elif _is_product(node) and node.inputs[0] in self._whole:
            self._whole[output] = self._product(node)
            self.products += 1
        elif self._treats_alone(node):
            self._whole[output] = self._same(node)

    def finish(self) -> None:
        """Let what reads restored values read the whole ones, and others what is made flat."""
        for old, whole in self._restored.items():
            ir.convenience.replace_all_uses_with(old, whole)
        for flat, whole in self._whole.items():
            made = flat.producer()
            others = [use.node for use in flat.uses() if not self._goes(use.node)]
            if others and made is not None and made.op_type != "Reshape":
                again = self._pen("Reshape", [whole, self._pen.integers(-1, _width(flat))])
                again.shape, again.type = flat.shape, flat.type
                ir.convenience.replace_all_uses_with(flat, again)

    def _goes(self, node: ir.Node) -> bool:
        """Tell whether nothing reads a node any more: it has a whole form, or was an inverse."""
        return all(value in self._whole or value in self._restored for value in node.outputs)

    def _reshape(self, node: ir.Node, output: ir.Value) -> None:
        given = node.inputs[0]
        if given is None or given.shape is None or output.shape is None:
            return
        if given in self._whole:
            whole = self._whole[given]
            if whole.shape is not None and tuple(output.shape) == tuple(whole.shape):
                self._restored[output] = whole
            return
        before, after = tuple(given.shape), tuple(output.shape)
        widths = [size for size in before[2:] if isinstance(size, int)]
        if len(before) < _STATES_RANK or len(widths) != len(before) - 2:
            return
        # As many numbers as before, and a last axis that takes all but B and T: the first is B x T.
        named = all(isinstance(size, int) or size.value is not None for size in before[:2])
        # Rows of a fixed number are appended tokens, whose layers are the head's: float32 always.
        named = named and not isinstance(before[1], int)
        if named and before == after:
            self._restored[output] = given
        elif named and len(after) == _MATRIX_RANK and after[1] == prod(widths):
            self._whole[output] = given
            if len(before) > _STATES_RANK:
                joined = self._pen("Reshape", [given, self._pen.integers(0, 0, prod(widths))])
                self._whole[output] = _shaped(joined, output, like=given)

    def _product(self, node: ir.Node) -> ir.Value:
        states, matrix, *bias = node.inputs
        assert states is not None
        assert matrix is not None
        whole, output = self._whole[states], node.outputs[0]
        if _number(node, "transB", 0):
            if matrix not in self._upright:
                assert matrix.const_value is not None
                self._upright[matrix] = self._pen.constant(matrix.const_value.numpy().T.copy())
            matrix = self._upright[matrix]
        made = _shaped(self._pen("MatMul", [whole, matrix]), output, like=whole)
        if bias and bias[0] is not None:
            made = _shaped(self._pen("Add", [made, bias[0]]), output, like=whole)
        return made

    def _treats_alone(self, node: ir.Node) -> bool:
        """Tell whether a node gives each row of that row of flat values and of constants alone."""
        flat = [value for value in node.inputs if value in self._whole]
        others = [value for value in node.inputs if value not in self._whole]
        shapes = {tuple(self._whole[value].shape or ())[:2] for value in flat}
        if len(shapes) != 1 or not all(_for_all(value) for value in others):
            return False
        if node.op_type in _ALONG_WIDTH:
            return _number(node, "axis", -1) in _LAST_AXES
        output = node.outputs[0].shape
        return node.op_type in _POINTWISE and output is not None and len(output) == _MATRIX_RANK

    def _same(self, node: ir.Node) -> ir.Value:
        inputs = [
            value if value is None else self._whole.get(value, value) for value in node.inputs
        ]
        made = ir.node(node.op_type, inputs, dict(_attributes(node)))
        like = next(self._whole[value] for value in node.inputs if value in self._whole)
        self._graph.append(made)
        return _shaped(made.outputs[0], node.outputs[0], like=like)


def _attributes(node: ir.Node) -> Iterator[tuple[str, ir.Attr]]:
    for name, value in node.attributes.items():
        yield name, ir.AttrInt64(name, -1) if name == "axis" else value


def _is_product(node: ir.Node) -> bool:
    """Tell whether a node is rows times a constant matrix, and perhaps a vector more."""
    if node.domain or node.op_type not in ("Gemm", "MatMul") or _number(node, "transA", 0):
        return False
    output = node.outputs[0].shape
    if node.op_type == "MatMul" and (output is None or len(output) != _MATRIX_RANK):
        return False
    scales = [
        node.attributes[name].as_float() for name in ("alpha", "beta") if name in node.attributes
    ]
    _, matrix, *bias = node.inputs
    constant = matrix is not None and matrix.is_initializer() and matrix.const_value is not None
    return constant and all(scale == 1 for scale in scales) and all(map(_for_all, bias))


def _number(node: ir.Node, name: str, default: int) -> int:
    return node.attributes[name].as_int() if name in node.attributes else default


def _for_all(value: ir.Value | None) -> bool:
    """Tell whether a value is one vector, or one number, for every row."""
    return value is None or (value.shape is not None and len(value.shape) < _MATRIX_RANK)


def _width(value: ir.Value) -> int:
    width = None if value.shape is None else value.shape[-1]
    assert isinstance(width, int)
    return width


def _shaped(made: ir.Value, flat: ir.Value, *, like: ir.Value) -> ir.Value:
    """Give a value the shape (B, T) of ``like`` and the width and type of its flat form."""
    assert like.shape is not None
    made.shape = ir.Shape([*like.shape[:2], _width(flat)])
    made.type = flat.type
    return made
