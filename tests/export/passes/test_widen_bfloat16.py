"""Arithmetic in bfloat16, computed in float32 and rounded, is PyTorch's to the last bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor

from decant.export.passes.widen_bfloat16 import widen_bfloat16

PYTORCH: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
}


def graph(lines: str) -> ir.Model:
    """Return a graph of two float32 vectors, and of them in bfloat16, called x and y."""
    made = ir.from_onnx_text(f"""
        <ir_version: 10, opset_import: ["" : 20]>
        graph (float[N] a, float[N] b) => (float[N] found)
            <bfloat16[N] x, bfloat16[N] y, bfloat16[N] z>
        {{
            x = Cast <to = 16> (a)
            y = Cast <to = 16> (b)
            {lines}
        }}
    """)
    for node in made.graph:
        node.outputs[0].shape = ir.Shape(["N"])
    return made


@pytest.mark.parametrize("operator", PYTORCH)
def test_it_is_pytorchs_to_the_last_bit(operator: str) -> None:
    model = graph(f"z = {operator} (x, y) found = Cast <to = 1> (z)")
    assert widen_bfloat16(model) == 1
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    drawn = np.random.default_rng(0)
    a, b = (drawn.normal(size=20_000).astype(np.float32) * 100 for _ in range(2))
    (found,) = session.run(None, {"a": a, "b": b})
    first, second = (torch.from_numpy(one).bfloat16() for one in (a, b))
    np.testing.assert_array_equal(found, PYTORCH[operator](first, second).float().numpy())


def test_a_graph_without_such_arithmetic_is_left_as_it_is() -> None:
    model = graph("c = Cast <to = 1> (x) found = Mul (c, b)")
    before = ir.to_proto(model).SerializeToString()
    assert widen_bfloat16(model) == 0
    assert ir.to_proto(model).SerializeToString() == before
