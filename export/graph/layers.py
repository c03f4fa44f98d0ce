"""Find and replace the linear layers and token tables of an ONNX graph.

These are the large parts that every precision changes: products of token states with a constant
matrix, and lookups in a constant table. Nodes after pooling work on one vector for each text and
stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

MICROSOFT = "com.microsoft"
_VECTORS_RANK = 2  # a product with one vector for each text: the head
_MATRIX_RANK = 2
_FEWEST_ROWS = 128  # rows of a table; smaller tables (token types) are not worth a scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A node ``MatMul(states, matrix)``; states have shape (B, T, K), the matrix (K, N)."""

    node: ir.Node
    states: ir.Value
    matrix: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A node ``Gather(table, ids)`` of rows; the table has shape (R, K)."""

    node: ir.Node
    ids: ir.Value
    rows: NDArray[np.float32]


def linears(model: ir.Model) -> Iterator[Linear]:
    """Yield every product of token states with a constant float32 matrix, in order.

    The graph may be changed between two of them.
    """
    for node in list(model.graph):
        if node.op_type == "MatMul" and node.domain == "":
            states, matrix = node.inputs
            array = _constant(matrix)
            if states is not None and array is not None and _rank(node.outputs[0]) != _VECTORS_RANK:
                yield Linear(node=node, states=states, matrix=array)


def by_states(layers: Sequence[Linear]) -> list[list[int]]:
    """Return groups of layers that read the same states, in the order of their first layers."""
    groups: dict[ir.Value, list[int]] = {}
    for number, layer in enumerate(layers):
        groups.setdefault(layer.states, []).append(number)
    return [*groups.values()]


def narrow_first(layers: Sequence[Linear]) -> list[list[int]]:
    """Return the groups of :func:`by_states` in the order in which GPTQ rounds: cheapest first.

    GPTQ's time grows with the cube of a layer's inputs, so most layers are rounded in a small part
    of the time, and their loss is known early.
    """
    return sorted(by_states(layers), key=lambda group: len(layers[group[0]].matrix))


def bias_of(layer: Linear) -> tuple[ir.Node, ir.Value] | None:
    """Return a layer's only reader if it adds a constant vector, and that vector."""
    given = layer.node.outputs[0]
    readers = [use.node for use in given.uses()]
    if given.is_graph_output() or len(readers) != 1:
        return None
    adding = readers[0]
    if adding.op_type != "Add" or adding.domain:
        return None
    bias = next((value for value in adding.inputs if value is not given), None)
    if bias is None or not bias.is_initializer() or bias.const_value is None:
        return None
    fits = tuple(bias.const_value.shape) == (layer.matrix.shape[1],)
    return (adding, bias) if fits else None


def tables(model: ir.Model) -> Iterator[Table]:
    """Yield every lookup of rows in a constant float32 matrix."""
    for node in list(model.graph):
        if node.op_type == "Gather" and node.domain == "":
            axis = node.attributes.get("axis")
            table, ids = node.inputs
            array = _constant(table)
            first = axis is None or axis.as_int() == 0
            if array is not None and ids is not None and first and len(array) >= _FEWEST_ROWS:
                yield Table(node=node, ids=ids, rows=array)


def constant(model: ir.Model, name: str, array: NDArray[np.generic]) -> ir.Value:
    """Register a constant and return it; an existing one of the same name is reused."""
    if name in model.graph.initializers:
        return model.graph.initializers[name]
    tensor = ir.tensor(np.ascontiguousarray(array), name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    value.const_value = tensor
    model.graph.register_initializer(value)
    return value


def replace(model: ir.Model, old: ir.Node, new: list[ir.Node]) -> None:
    """Replace ``old`` by ``new``, whose last output gets the place and name of the old one."""
    before, after = old.outputs[0], new[-1].outputs[0]
    model.graph.insert_before(old, new)
    after.shape, after.type = before.shape, before.type
    name = before.name
    ir.convenience.replace_all_uses_with(before, after, replace_graph_outputs=True)
    model.graph.remove(old, safe=True)
    after.name = name


def drop_unused(model: ir.Model) -> None:
    """Drop nodes and constants that nothing reads, and say that Microsoft's operators are used."""
    RemoveUnusedNodesPass()(model)
    model.graph.opset_imports.setdefault(MICROSOFT, 1)


def _constant(value: ir.Value | None) -> NDArray[np.float32] | None:
    if value is None or value.const_value is None or not value.is_initializer():
        return None
    if value.dtype != ir.DataType.FLOAT or _rank(value) != _MATRIX_RANK:
        return None
    return np.asarray(value.const_value.numpy(), np.float32)


def _rank(value: ir.Value | None) -> int:
    return -1 if value is None or value.shape is None else len(value.shape)
