"""Which nodes of a graph may stay on the CPU: the arithmetic of shapes, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# What counts and shapes are made of; ONNX Runtime keeps these on the CPU, where they are needed.
SHAPE_OPERATORS = frozenset({
    "Add", "And", "Cast", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Gather",
    "Greater", "GreaterOrEqual", "If", "Less", "Mul", "Not", "Range", "ReduceProd", "Reshape",
    "Shape", "Size", "Slice", "Squeeze", "Sub", "Unsqueeze", "Where",
})  # fmt: skip
"""Operators of shape arithmetic."""

_CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where the nodes of a graph ran.

    Args:
        elsewhere: Nodes that ran on another provider than asked for, by operator.
        total: All nodes.
        computing: Those of ``elsewhere`` on the CPU that are no arithmetic of shapes.
    """

    elsewhere: Mapping[str, int]
    total: int
    computing: Mapping[str, int]

    def __str__(self) -> str:
        """Return it in words: ``3 of 90 elsewhere (Shape ×3), none of them computes``."""
        if not self.elsewhere:
            return f"all {self.total} there"
        named = ", ".join(f"{name} ×{count}" for name, count in self.elsewhere.items())
        verdict = (
            "on the CPU compute: " + ", ".join(f"{n} ×{c}" for n, c in self.computing.items())
            if self.computing
            else "none of them computes on the CPU"
        )
        return f"{sum(self.elsewhere.values())} of {self.total} elsewhere ({named}); {verdict}"


def placed(ran: Mapping[str, Mapping[str, int]], provider: str) -> Placed:
    """Sum up what :func:`decant.embedders.onnx.placement` found.

    Args:
        ran: For each provider how many nodes of which operator it ran.
        provider: The one that was asked for, by its full name.
    """
    others = {name: counts for name, counts in ran.items() if name != provider}
    elsewhere: dict[str, int] = {}
    for counts in others.values():
        for operator, count in counts.items():
            elsewhere[operator] = elsewhere.get(operator, 0) + count
    computing = {
        operator: count
        for operator, count in others.get(_CPU, {}).items()
        if operator not in SHAPE_OPERATORS
    }
    total = sum(sum(counts.values()) for counts in ran.values())
    return Placed(elsewhere=elsewhere, total=total, computing=computing)
