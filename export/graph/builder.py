"""Add nodes and constants to an existing ONNX graph, under names that it does not use yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir
from numpy.typing import NDArray

INT64 = onnx_ir.DataType.INT64
FLOAT = onnx_ir.DataType.FLOAT
EXTREMES_TAKE_AXES = 18  # before this opset they were an attribute (ONNX Operators, ReduceMax)


class Pen:
    """Adds nodes and constants to a graph under names that it does not use yet."""

    def __init__(self, graph: onnx_ir.Graph) -> None:
        self._tape = onnx_ir.tape.Tape(graph)
        self._taken = set(values_of(graph))
        self._count = 0
        self.opset = graph.opset_imports[""]

    def __call__(
        self,
        operator: str,
        inputs: Sequence[onnx_ir.Value | None],
        attributes: Mapping[str, int | str | list[int] | onnx_ir.TensorProtocol] | None = None,
        *,
        domain: str = "",
    ) -> onnx_ir.Value:
        """Add a node and return its output."""
        name = self._name(operator)
        output = onnx_ir.Value(name=name)
        return self._tape.op(operator, inputs, attributes, domain=domain, name=name, output=output)

    def extreme(
        self, operator: str, value: onnx_ir.Value, axis: int, *, keepdims: bool
    ) -> onnx_ir.Value:
        """Add ``ReduceMax`` or ``ReduceMin`` along an axis, in the form of the graph's opset."""
        kept = {"keepdims": int(keepdims)}
        if self.opset < EXTREMES_TAKE_AXES:
            return self(operator, [value], {"axes": [axis], **kept})
        return self(operator, [value, self.integers(axis)], kept)

    def constant(self, values: NDArray[np.generic]) -> onnx_ir.Value:
        """Add an initializer."""
        return self._tape.initializer(onnx_ir.tensor(values, name=self._name("constant")))

    def number(self, value: float) -> onnx_ir.Value:
        """Add a float32 scalar."""
        return self.constant(np.array(value, np.float32))

    def integers(self, *values: int) -> onnx_ir.Value:
        """Add a vector of int64."""
        return self.constant(np.array(values, np.int64))

    def cast(self, value: onnx_ir.Value, dtype: onnx_ir.DataType) -> onnx_ir.Value:
        """Add a cast, unless the value is known to have the type."""
        return value if value.dtype is dtype else self("Cast", [value], {"to": int(dtype)})

    def seen(self, mask: onnx_ir.Value) -> onnx_ir.Value:
        """Add the cumulative sum of a mask (B, T) over its columns, int64 (B, T)."""
        return self("CumSum", [mask, self.constant(np.array(1, np.int64))])

    def _name(self, kind: str) -> str:
        while True:
            name = f"decant_{kind}_{self._count}"
            self._count += 1
            if name not in self._taken:
                return name


def values_of(graph: onnx_ir.Graph) -> dict[str, onnx_ir.Value]:
    """Return every value of a graph and its subgraphs, by name."""
    found = [*graph.inputs, *graph.initializers.values()]
    for inner in graph.subgraphs():
        found += [*inner.inputs, *inner.initializers.values()]
    found += [value for node in graph.all_nodes() for value in node.outputs]
    return {str(value.name): value for value in found}
