"""ONNX Runtime's profile of a run as values: which node ran where, for how long, on what shapes.

Read from what really ran, after ONNX Runtime's own fusions, so it needs neither the package onnx
nor a table of architectures. A node that contains others (``If``) is listed as well as the nodes
inside it: leave :data:`CONTAINERS` out where microseconds are added up.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path

# Operators that multiply by a matrix of weights; all have the states first and one output.
_WEIGHT_PRODUCTS = frozenset(
    {
        "DynamicQuantizeMatMul",
        "FusedGemm",
        "FusedMatMul",
        "Gemm",
        "MatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QGemm",
        "QLinearMatMul",
    }
)
CONTAINERS = frozenset({"If", "Loop", "Scan"})
"""Operators whose time is that of the nodes inside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRun:
    """One run of one node.

    Args:
        operator: Its type, for example ``MatMul``.
        provider: The full name of the provider that ran it.
        microseconds: How long it took.
        inputs: The shapes of its inputs; weights that were packed at loading are missing.
        outputs: The shapes of its outputs.
    """

    operator: str
    provider: str
    microseconds: int
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product of the states with a matrix of weights, (tokens, k) by (k, n).

    Args:
        k: Width of the states.
        n: Width of the result.
        count: How many such products a token takes part in.
    """

    k: int
    n: int
    count: int

    @property
    def operations(self) -> int:
        """Multiplications and additions that a token costs in all products of this shape."""
        return 2 * self.k * self.n * self.count


def read_profile(path: Path) -> list[NodeRun]:
    """Return the runs of nodes in a file of ``InferenceSession.end_profiling``, in order."""
    found = []
    for event in json.loads(path.read_text(encoding="utf-8")):
        arguments = event.get("args", {})
        if event.get("cat") != "Node" or "provider" not in arguments:
            continue
        found.append(
            NodeRun(
                operator=str(arguments.get("op_name")),
                provider=str(arguments["provider"]),
                microseconds=int(event.get("dur", 0)),
                inputs=_shapes(arguments.get("input_type_shape", [])),
                outputs=_shapes(arguments.get("output_type_shape", [])),
            )
        )
    return found


def is_weight_product(run: NodeRun, *, tokens: int) -> bool:
    """Return whether a node multiplies the states of all ``tokens`` by a matrix of weights.

    The two products of attention are not among them: their states have four dimensions.
    """
    if run.operator not in _WEIGHT_PRODUCTS or not run.inputs or not run.outputs:
        return False
    states, result = run.inputs[0], run.outputs[0]
    return all(len(one) in (2, 3) and prod(one[:-1]) == tokens for one in (states, result))


def weight_products(runs: Iterable[NodeRun], *, tokens: int) -> tuple[Product, ...]:
    """Return the shapes of a run's products with weights, each with its count.

    Args:
        runs: One run of the graph.
        tokens: B x T of the batch. Products with other numbers of rows, such as a head's on the
            pooled vectors, are left out.
    """
    shapes = Counter(
        (run.inputs[0][-1], run.outputs[0][-1])
        for run in runs
        if is_weight_product(run, tokens=tokens)
    )
    return tuple(Product(k=k, n=n, count=count) for (k, n), count in sorted(shapes.items()))


def _shapes(listed: list[dict[str, list[int]]]) -> tuple[tuple[int, ...], ...]:
    """Return shapes without their types: the profile has ``[{"float": [512, 384]}, …]``."""
    return tuple(tuple(shape) for one in listed for shape in one.values())
