"""The float32 graph of a bundle as products and sums: of its own, for all precisions begin with it.

It is loaded once for a precision. What measures something with further nodes, and what rounds
weights, takes a copy; copies share the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import onnx_ir as ir

from .restore_token_axis import unflatten


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainGraph:
    """A graph whose linear layers are ``MatMul`` of (B, T, K), each bias added by an ``Add``.

    Args:
        folder: Where its file lies, and weights beside it.
        model: Not to be changed.
    """

    folder: Path
    model: ir.Model

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load a file; weights beside it are not read yet."""
        model = ir.load(path)
        unflatten(model)
        return cls(folder=path.parent, model=model)

    def copy(self) -> ir.Model:
        """Return a model of its own nodes, whose weights are those of all copies."""
        return self.model.clone()
