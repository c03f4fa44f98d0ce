"""Read the float32 graph of a bundle as products and sums, from which other graphs are made."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from .restore_token_axis import unflatten


def plain_graph(path: Path) -> ir.Model:
    """Load a graph whose linear layers are ``MatMul`` of (B, T, K), each bias added by an ``Add``.

    Args:
        path: Its file; weights beside it are not read yet.
    """
    model = ir.load(path)
    unflatten(model)
    return model
