"""How well one order of passages agrees with another: Kendall's tau, and what is lost of nDCG.

Both count passages of nearly equal scores, whose order says little. What a model holds apart is
judged by :func:`largest_inversion`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def kendall_tau(scores: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return Kendall's tau-b of two lists of scores; 1 where either cannot be ordered.

    Formula: Kendall, Biometrika 33 (1945); scipy.stats.kendalltau gives the same, and is no
    dependency of the package.

    >>> kendall_tau(np.array([1, 2, 3], np.float32), np.array([1, 3, 2], np.float32)).__round__(3)
    0.333
    """
    first, second = (
        np.sign(values[:, None].astype(np.float64) - values[None, :])
        for values in (scores, reference)
    )
    above = np.triu_indices(len(scores), 1)
    first, second = first[above], second[above]
    ordered = np.sqrt(np.count_nonzero(first) * np.count_nonzero(second))
    return 1.0 if ordered == 0 else float((first * second).sum() / ordered)


def ndcg_loss(scores: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return what an order of passages loses of the nDCG that the reference's order has, 1.

    The truth is graded by the reference: its best of N passages has gain 1, the next (N - 1) / N,
    and so on; equal scores share the mean of their gains.

    >>> ndcg_loss(np.array([1, 2, 3], np.float32), np.array([1, 2, 3], np.float32))
    0.0
    """
    count = len(reference)
    ranks = np.empty(count)
    ranks[np.argsort(-reference, kind="stable")] = np.arange(count)
    gains = (count - ranks) / count
    for value in np.unique(reference):
        gains[reference == value] = gains[reference == value].mean()
    discounts = 1 / np.log2(np.arange(count) + 2)
    found = float((gains[np.argsort(-scores, kind="stable")] * discounts).sum())
    best = float((np.sort(gains)[::-1] * discounts).sum())
    return max(0.0, 1 - found / best)


def largest_inversion(scores: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return how far apart the reference holds the two passages that changed places, at most.

    0 where none did. The unit is that of the reference's scores.

    >>> largest_inversion(np.array([1, 3, 2], np.float32), np.array([1, 2, 2.5], np.float32))
    0.5
    """
    first, second = (
        values[:, None].astype(np.float64) - values[None, :] for values in (scores, reference)
    )
    return float(np.where(first < 0, second, 0.0).max(initial=0.0))
