"""Describe training data before training: counts, lengths, truncation and balance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .row import TrainingExample
from .table import TrainingDataset

_SAMPLE = 1000

Lengths = Callable[[TrainingExample], dict[str, tuple[int, int]]]
"""Returns, for each kind of text in a row, its tokens with prompt, and how many are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLengths:
    """How long texts of one kind are, in tokens with their prompt.

    Args:
        median: The median length.
        most: The 95th percentile of lengths.
        longest: The longest text of the sample.
        cut: The share of texts that are longer than the model reads.
    """

    median: int
    most: int
    longest: int
    cut: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """A description of training data.

    Args:
        rows: Number of rows.
        repeated: Rows left out because they repeat an earlier row.
        groups: Number of groups, each of which stays on one side of a split.
        tasks: Number of rows of each task.
        scores: Number of rows of each score if there are at most ten scores; else the quantiles 0,
            25, 50, 75 and 100 % by name.
        lengths: Lengths of each kind of text, in a random sample of at most a thousand rows.
    """

    rows: int
    repeated: int
    groups: int
    tasks: dict[str, int]
    scores: dict[str, float]
    lengths: dict[str, TextLengths]


def describe(table: TrainingDataset, lengths: Lengths, *, seed: int = 0) -> DataReport:
    """Return a description of a table; only a sample of its rows is tokenised.

    Args:
        table: The rows.
        lengths: A function that counts the tokens of a row's texts; :meth:`Objective.lengths`.
        seed: Seed of the sample.
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
