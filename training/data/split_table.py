"""Hold out a part of a table for evaluation.

Invariant: no group is on both sides. If the data have no groups, rows of one positive are a group,
so that no passage is on both sides; if they have no positives, rows of one query are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .table import TrainingDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The two sides of a table."""

    train: TrainingDataset
    held_out: TrainingDataset


def split(table: TrainingDataset, *, share: float, seed: int) -> Split:
    """Hold out whole groups, drawn at random, until ``share`` of the rows are held out.

    Args:
        table: All rows.
        share: The share of rows to hold out, between 0 and 1, both excluded.
        seed: Seed of the draw; the same seed gives the same split.

    Raises:
        DataError: The share is out of range, or there are too few groups for two sides.
    """
    if not 0 < share < 1:
        raise DataError(f"the share to hold out must be between 0 and 1, got {share}")
    groups, sizes = np.unique(table.groups, return_counts=True)
    if len(groups) < 2:
        raise DataError(
            "all rows are of one group, so none can be held out; give rows of other groups, or "
            "hold out nothing"
        )
    order = np.random.default_rng(seed).permutation(len(groups))
    before = np.cumsum(sizes[order]) - sizes[order]
    # At least one group on either side.
    count = min(max(int(np.searchsorted(before, share * len(table))), 1), len(groups) - 1)
    held = np.isin(table.groups, groups[order[:count]])
    return Split(
        train=table.subset(np.flatnonzero(~held)), held_out=table.subset(np.flatnonzero(held))
    )
