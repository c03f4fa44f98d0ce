"""Where a graph's time goes: matrix products, attention, and everything outside both.

Seeded models of every family, in fp32 and int8, from ONNX Runtime's own profile of one thread.
Attention is its fused operators and, where a graph has none, softmax and the products of rank 4.
Weights are drawn, which changes no kernel's time.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bench.bare import Kernel, kernels
from bench.families import DECODERS, ENCODERS, LONGEST, save_family
from bench.machine import circumstances
from bench.options import Common, Stage, carry_out, common, parser, positive
from bench.report import Figure, Result
from decant.embedders import Bundle, Choices, Pooling, Precision
from decant.export import export

FAMILIES = (*ENCODERS, *DECODERS)
PRECISIONS = (Precision.FP32, Precision.INT8)
_PRODUCTS = {
    "FusedGemm", "FusedMatMul", "Gemm", "MatMul", "MatMulInteger", "MatMulIntegerToFloat",
    "MatMulNBits", "DynamicQuantizeMatMul",
}  # fmt: skip
_ATTENTION = {"Attention", "GroupQueryAttention", "MultiHeadAttention", "Softmax"}
_HEADS_RANK = 4  # (B, heads, T, width): states, not weights


class Part(StrEnum):
    """What a kernel's time is counted as."""

    PRODUCTS = "matrix products"
    ATTENTION = "attention"
    OUTSIDE = "outside both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure.

    Args:
        common: As for every benchmark; a round is one run of a graph.
        families: Which architectures.
        layers: How many each has.
        width: Of the states; a multiple of twelve.
        batch: Rows and tokens of a batch.
    """

    common: Common
    families: tuple[str, ...]
    layers: int
    width: int
    batch: tuple[int, int]


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    made = parser(str(__doc__), rounds=20)
    made.add_argument(
        "--families", nargs="+", choices=FAMILIES, default=FAMILIES, help="architectures (all)"
    )
    made.add_argument("--layers", type=positive, default=4, help="of each (%(default)s)")
    made.add_argument("--width", type=_dozens, default=384, help="of the states (%(default)s)")
    made.add_argument("--rows", type=positive, default=4, help="in a batch (%(default)s)")
    made.add_argument("--tokens", type=positive, default=128, help="in a row (%(default)s)")
    found = made.parse_args(arguments)
    return Options(
        common=common(found),
        families=tuple(found.families),
        layers=found.layers,
        width=found.width,
        batch=(found.rows, found.tokens),
    )


def measure(options: Options, stage: Stage) -> Result:
    """Make, export and profile one family after the other."""
    figures: list[Figure] = []
    for family in options.families:
        stage.on_step(f"exporting {family}")
        model = save_family(
            stage.work / family,
            stage.model,
            family,
            layers=options.layers,
            width=options.width,
            seed=options.common.seed,
        )
        pooling = Pooling.MEAN if family in ENCODERS else Pooling.LAST
        choices = Choices(pooling=pooling, normalize=True, max_tokens=LONGEST)
        bundle = stage.work / f"{family}-bundle"
        export(model, bundle, choices=choices, precisions=["int8"])
        for precision in PRECISIONS:
            stage.on_step(f"profiling {family}, {precision}")
            graph = Bundle.open(bundle).graph(precision)
            found = kernels(
                graph, _feeds(options.batch), runs=options.common.rounds, work=stage.work
            )
            figures += shares(f"{family} {precision}", found)
    return Result(
        benchmark="operators",
        circumstances=circumstances(),
        seed=options.common.seed,
        settings={
            "layers": str(options.layers),
            "width": str(options.width),
            "batch": "{} rows of {} tokens".format(*options.batch),
        },
        figures=tuple(figures),
    )


def shares(name: str, found: Sequence[Kernel]) -> list[Figure]:
    """Return each part's share of the time, and the operator that takes most outside both."""
    parts: dict[Part, float] = dict.fromkeys(Part, 0.0)
    outside: defaultdict[str, float] = defaultdict(float)
    for kernel in found:
        parts[part(kernel)] += kernel.microseconds
        if part(kernel) is Part.OUTSIDE:
            outside[kernel.operator] += kernel.microseconds
    total = sum(parts.values())
    operator, most = max(outside.items(), key=lambda item: item[1])
    figures = [
        Figure(name=f"{name}, {member}", value=100 * parts[member] / total, unit="%")
        for member in Part
    ]
    largest = Figure(name=f"{name}, of these {operator}", value=100 * most / total, unit="%")
    return [*figures, largest]


def part(kernel: Kernel) -> Part:
    """Return what a kernel's time is counted as."""
    between_states = kernel.operator in _PRODUCTS and min(kernel.ranks[:2]) >= _HEADS_RANK
    if kernel.operator in _ATTENTION or between_states:
        return Part.ATTENTION
    return Part.PRODUCTS if kernel.operator in _PRODUCTS else Part.OUTSIDE


def _feeds(batch: tuple[int, int]) -> dict[str, np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """A full batch of the same few ids; no kernel's time depends on them."""
    ids = np.arange(batch[0] * batch[1], dtype=np.int64).reshape(batch) % 100
    return {"input_ids": ids, "attention_mask": np.ones(batch, np.int64)}


def _dozens(text: str) -> int:
    number = positive(text)
    if number % 12:
        raise argparse.ArgumentTypeError(f"expected a multiple of 12, got {number}")
    return number


if __name__ == "__main__":
    chosen = parse()
    carry_out(chosen.common, lambda stage: measure(chosen, stage))
