"""Run the probes through a graph and read values that it does not give."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from decant.embedders.onnx import Session, provider_name
from decant.embedders.tokens import Tokens, pad

from ..graph.builder import Pen
from ..graph.layers import Linear, linears
from ..passes.plain_graph import PlainGraph

Watch = Callable[[Pen, Linear], Sequence[ir.Value]]
"""Adds nodes that compute what is wanted of a linear layer, float32, and returns their values."""


def observed(
    graph: PlainGraph,
    rows: Sequence[Tokens],
    watch: Watch,
    *,
    pad_id: int,
    layers: Container[int] | None = None,
) -> Iterator[list[list[NDArray[np.float32]]]]:
    """Yield, for each row alone, what is watched of each linear layer, in their order.

    Args:
        graph: The float32 graph. A file lies in its folder for the time of the call.
        rows: What to run.
        watch: Says what; small values, since all of them are held for a row.
        pad_id: Fills padded positions.
        layers: Numbers of those to watch; None watches all.
    """
    model = graph.copy()
    pen = Pen(model.graph)
    names: list[list[str]] = []
    for number, linear in enumerate(linears(model)):
        if layers is not None and number not in layers:
            continue
        values = watch(pen, linear)
        for value in values:
            value.dtype = ir.DataType.FLOAT
            model.graph.outputs.append(value)
        names.append([str(value.name) for value in values])
    flat = [name for group in names for name in group]
    # In its folder: weights that are external stay where they are.
    with tempfile.NamedTemporaryFile(dir=graph.folder, suffix=".onnx") as file:
        ir.save(model, file.name)
        session = Session(Path(file.name), provider_name("cpu"))
    for row in rows:
        found = iter(session.values(flat, pad([row], pad_id=pad_id)))
        yield [[next(found) for _ in group] for group in names]
