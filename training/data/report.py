"""What a table holds, before any step is taken: counts, lengths, what will be cut, balance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .row import TrainingExample
from .table import TrainingDataset

_SAMPLE = 1000

Lengths = Callable[[TrainingExample], dict[str, tuple[int, int]]]
"""Of one row: for each kind of text, its tokens with its prompt, and how many the model reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLengths:
    """How long texts of one kind are, in tokens with their prompt.

    Args:
        median: Half are no longer.
        most: Nineteen of twenty are no longer.
        longest: Of those looked at.
        cut: Share that is longer than the model reads.
    """

    median: int
    most: int
    longest: int
    cut: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """What training will see.

    Args:
        rows: How many.
        repeated: Rows left out because an earlier one is equal.
        groups: Groups that stand on one side of a split.
        tasks: Rows of each task.
        scores: Rows of each score, if there are at most ten scores; else quantiles 0, 25, 50, 75
            and 100 % by name.
        lengths: By kind of text, over at most a thousand rows drawn at random.
    """

    rows: int
    repeated: int
    groups: int
    tasks: dict[str, int]
    scores: dict[str, float]
    lengths: dict[str, TextLengths]


def describe(table: TrainingDataset, lengths: Lengths, *, seed: int = 0) -> DataReport:
    """Describe a table; only a sample of its rows is tokenised.

    Args:
        table: The rows.
        lengths: Counts the tokens of a row's texts; :meth:`Objective.lengths`.
        seed: Of the sample.
    """
    random = np.random.default_rng(seed)
    count = min(_SAMPLE, len(table))
    chosen = random.choice(len(table), count, replace=False)
    found: dict[str, list[tuple[int, int]]] = {}
    for index in chosen.tolist():
        for kind, pair in lengths(table[index]).items():
            found.setdefault(kind, []).append(pair)
    sizes = np.bincount(table.tasks, minlength=len(table.task_names))
    return DataReport(
        rows=len(table),
        repeated=table.repeated,
        groups=len(np.unique(table.groups)),
        tasks={name: int(size) for name, size in zip(table.task_names, sizes, strict=True) if size},
        scores=_balance(table.scores[~np.isnan(table.scores)]),
        lengths={kind: _lengths(np.array(pairs)) for kind, pairs in found.items()},
    )


def _lengths(pairs: NDArray[np.int64]) -> TextLengths:
    tokens = pairs[:, 0]
    median, most = np.quantile(tokens, [0.5, 0.95], method="higher")
    return TextLengths(
        median=int(median),
        most=int(most),
        longest=int(tokens.max()),
        cut=float((pairs[:, 1] < tokens).mean()),
    )


def _balance(scores: NDArray[np.float32]) -> dict[str, float]:
    if not len(scores):
        return {}
    values, counts = np.unique(scores, return_counts=True)
    if len(values) <= 10:
        return {f"{value:g}": int(count) for value, count in zip(values, counts, strict=True)}
    quantiles = np.quantile(scores, [0, 0.25, 0.5, 0.75, 1])
    names = ("0 %", "25 %", "50 %", "75 %", "100 %")
    return {name: float(value) for name, value in zip(names, quantiles, strict=True)}
