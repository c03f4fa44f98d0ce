"""Pick hits that fit the query and differ from each other: maximal marginal relevance.

The formula is that of :class:`MMR`. The frameworks have other names for its balance
(``lambda_mult``, ``mmr_threshold``), with the same meaning: 1 is relevance alone, 0 is variety
alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def diverse(
    relevance: NDArray[np.float64], rows: NDArray[np.float32], *, count: int, balance: float
) -> list[int]:
    """Return the numbers of the picked candidates, in the order of picking.

    The first pick is the most relevant one.

    Args:
        relevance: float, shape ``(N,)``.
        rows: The vectors of the candidates: float, shape ``(N, D)``; a row of zeros resembles none.
        count: How many to pick; at most N are.
        balance: Between 0 (variety) and 1 (relevance).

    >>> rows = np.array([[1, 0], [1, 0.1], [0, 1]], np.float32)
    >>> relevance = np.array([1.0, 0.9, 0.0])
    >>> diverse(relevance, rows, count=2, balance=1.0)
    [0, 1]
    >>> diverse(relevance, rows, count=2, balance=0.0)
    [0, 2]
    """
    if count < 1 or not len(rows):
        return []
    units = _unit(rows)  # (N, D)
    picked = [int(np.argmax(relevance))]
    redundancy = units @ units[picked[0]]  # (N,)
    while len(picked) < min(count, len(units)):
        value = balance * relevance - (1.0 - balance) * redundancy
        value[picked] = -np.inf
        picked.append(int(np.argmax(value)))
        redundancy = np.maximum(redundancy, units @ units[picked[-1]])
    return picked


def scaled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores, shape ``(N,)``, on a scale from 0, the least, to 1; equal ones are 1.

    >>> scaled(np.array([3.0, 1.0, 2.0])).tolist()
    [1.0, 0.0, 0.5]
    """
    if not len(scores):
        return scores
    least, greatest = scores.min(), scores.max()
    return np.ones(len(scores)) if least == greatest else (scores - least) / (greatest - least)


def cosines(query: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of a query, shape ``(D,)``, and each row of ``found``, shape ``(N, D)``.

    Results are clipped to -1 to 1, so rounding never exceeds that.

    >>> cosines(np.array([2, 0], np.float32), np.array([[1, 0], [0, 3]], np.float32)).tolist()
    [1.0, 0.0]
    """
    if not len(found):
        return np.zeros(0)
    return np.asarray(np.clip(_unit(found) @ _unit(query[None, :])[0], -1.0, 1.0), np.float64)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    # A zero vector has no direction: it stays zero, and its cosines are 0.
    return np.asarray(wide / np.where(norms == 0.0, 1.0, norms), np.float64)
