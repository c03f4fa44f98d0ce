"""Add an ``If`` node, by which a graph chooses between two ways to compute a value."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir


def branch(
    graph: ir.Graph,
    holder: ir.Node,
    condition: ir.Value,
    ways: tuple[Sequence[ir.Node], Sequence[ir.Node]],
    *,
    name: str,
) -> None:
    """Replace a placeholder with one output by an ``If``, in place.

    Args:
        graph: The graph with the placeholder.
        holder: The placeholder; readers of its output read that of the ``If`` from then on.
        condition: A bool scalar.
        ways: The nodes for true and for false, in order; the last of each computes the value. They
            may read any value of ``graph``.
        name: The prefix of their outputs' names, different for each branch.
    """
    old = holder.outputs[0]
    for at, node in enumerate([node for way in ways for node in way]):
        node.outputs[
            0
        ].name = f"{name}.{at}"  # names of inner values must differ from those of the outer graph
    then, otherwise = (
        ir.Graph([], [way[-1].outputs[0]], nodes=way, name=f"{name}.{kind}")
        for way, kind in zip(ways, ("then", "else"), strict=True)
    )
    for inner in (then, otherwise):
        inner.outputs[0].shape, inner.outputs[0].type = old.shape, old.type
    choice = ir.node("If", [condition], {"then_branch": then, "else_branch": otherwise})
    new = choice.outputs[0]
    new.shape, new.type, shown = old.shape, old.type, old.name
    graph.insert_before(holder, choice)
    ir.convenience.replace_all_uses_with(old, new)
    graph.remove(holder, safe=True)
    new.name = shown
