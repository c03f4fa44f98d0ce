"""Complete a graph of token states to a graph of finished vectors, with nodes before and behind.

Before: every row is rolled until its text begins in the first column, because most graphs count
positions by columns, and some attention kernels by the sum of the mask; then the other inputs
are computed (positions, token types, an empty past). Behind: the nodes of ``pooling_nodes.py``. The
original's own nodes stay as they are. Only operators with the same form from opset 14 on are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np
import onnx_ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from decant.embedders import PooledTokens, Recipe

from ..graph.builder import FLOAT, INT64, Pen, values_of
from ..passes.slice_pooled_token import SUM
from .contract import Contract, Feed
from .dense_weights import Layer
from .pooling_nodes import finished

OUTPUT = "sentence_embedding"


def finish(
    model: onnx_ir.Model,
    contract: Contract,
    *,
    recipe: Recipe,
    head: Sequence[Layer],
    dim: int,
) -> None:
    """Turn ``model`` into a graph of ids and mask to ``sentence_embedding``, in place.

    Args:
        model: The original.
        contract: Its inputs and outputs.
        recipe: Pooling, span, width and normalisation.
        head: The recipe's dense layers.
        dim: Width D of the vectors.
    """
    graph = model.graph
    hidden = next(value for value in graph.outputs if value.name == contract.hidden)
    graph.outputs[:] = [hidden]  # caches, logits and other poolings are dropped, with their weights
    RemoveUnusedNodesPass()(model)
    graph.outputs.clear()
    _free_names(graph)
    _free_equation(graph)
    pen = Pen(graph)
    mask = _feed(graph, contract, pen, recipe.span)
    vectors = finished(pen, hidden, mask, recipe, head)
    vectors.name = OUTPUT
    vectors.dtype = FLOAT
    vectors.shape = onnx_ir.Shape(["batch", dim])
    graph.outputs.append(vectors)
    graph.sort()


def _feed(graph: onnx_ir.Graph, contract: Contract, pen: Pen, span: PooledTokens) -> onnx_ir.Value:
    """Keep only decant's inputs, compute the others from them; return the pooling mask."""
    before = {str(value.name): value for value in graph.inputs}
    graph.inputs.clear()
    ids, mask = (_new_input(graph, feed) for feed in (Feed.IDS, Feed.MASK))
    counted = mask if span is PooledTokens.ALL else _new_input(graph, "pooling_mask")
    order = _order(pen, mask)
    rolled_ids, rolled_mask = _rolled(pen, ids, order), _rolled(pen, mask, order)
    for item in contract.inputs:
        match item.feed:
            case Feed.IDS:
                made = pen.cast(rolled_ids, item.dtype)
            case Feed.MASK:
                made = pen.cast(rolled_mask, item.dtype)
            case Feed.POSITIONS:
                positions = _positions(pen, rolled_ids, rolled_mask, contract)
                made = pen.cast(positions, item.dtype)
            case Feed.TYPES:
                made = _zeros(pen, pen("Shape", [ids]), item.dtype)
            case Feed.PAST:
                rows = pen("Gather", [pen("Shape", [mask]), pen.integers(0)])
                rest = pen.integers(item.heads, 0, item.width)
                made = _zeros(pen, pen("Concat", [rows, rest], {"axis": 0}), item.dtype)
            case _:
                assert_never(item.feed)
        before[item.name].replace_all_uses_with(made)
    return rolled_mask if counted is mask else _rolled(pen, counted, order)


def _new_input(graph: onnx_ir.Graph, name: str) -> onnx_ir.Value:
    value = onnx_ir.val(name, dtype=INT64, shape=onnx_ir.Shape(["batch", "tokens"]))
    graph.inputs.append(value)
    return value


def _order(pen: Pen, mask: onnx_ir.Value) -> onnx_ir.Value:
    """Return, for each column, the column that belongs there, int64 (B, T); holes stay holes."""
    seen = pen.seen(mask)
    empty = pen("Cast", [pen("Equal", [seen, pen.integers(0)])], {"to": int(INT64)})
    leading = pen("ReduceSum", [empty, pen.integers(1)])  # (B, 1)
    ones = pen("Add", [pen("Mul", [mask, pen.integers(0)]), pen.integers(1)])
    column = pen("Sub", [pen.seen(ones), pen.integers(1)])
    width = pen("ReduceSum", [ones, pen.integers(1)])  # (B, 1)
    return pen("Mod", [pen("Add", [column, leading]), width])


def _rolled(pen: Pen, values: onnx_ir.Value, order: onnx_ir.Value) -> onnx_ir.Value:
    rolled = pen("GatherElements", [values, order], {"axis": 1})
    rolled.dtype = INT64
    return rolled


def _positions(
    pen: Pen, ids: onnx_ir.Value, mask: onnx_ir.Value, contract: Contract
) -> onnx_ir.Value:
    """Return each token's rank among the counted tokens, int64 (B, T); see ``PooledModel``."""
    first = contract.first_position
    if contract.uncounted_id is None:
        ranks = pen("Max", [pen("Sub", [pen.seen(mask), pen.integers(1)]), pen.integers(0)])
        positions = pen("Add", [ranks, pen.integers(first)])
    else:
        passed = pen("Equal", [ids, pen.integers(contract.uncounted_id)])
        words = pen("Cast", [pen("Not", [passed])], {"to": int(INT64)})
        counted = pen("Mul", [mask, words])
        ranks = pen("Mul", [pen.seen(counted), counted])
        positions = pen("Add", [ranks, pen.integers(first - 1)])
    positions.dtype = INT64
    return positions


def _zeros(pen: Pen, shape: onnx_ir.Value, dtype: onnx_ir.DataType) -> onnx_ir.Value:
    zero = onnx_ir.tensor(np.zeros(1, dtype.numpy()), dtype=dtype)
    return pen("ConstantOfShape", [shape], {"value": zero})


def _free_names(graph: onnx_ir.Graph) -> None:
    """Rename values that already have one of decant's names, such as ``sentence_embedding``."""
    taken = values_of(graph)
    for name in (OUTPUT, "pooling_mask"):
        if name in taken:
            taken[name].name = f"original_{name}"


def _free_equation(graph: onnx_ir.Graph) -> None:
    """Rewrite with other letters the einsum equation by which decant's pooled sum is found."""
    for node in graph:
        equation = node.attributes.get("equation")
        if equation is not None and equation.as_string() == SUM:
            letters = SUM.translate(str.maketrans("btd", "ijk"))
            node.attributes["equation"] = onnx_ir.AttrString("equation", letters)
