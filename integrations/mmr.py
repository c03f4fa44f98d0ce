"""Pick results that fit the query and differ from each other: maximal marginal relevance.

Carbonell and Goldstein 1998 (SIGIR): each pick maximises ``balance * sim(query, d) - (1 - balance)
* max over picked p of sim(p, d)``. The frameworks have other names for ``balance``
(``lambda_mult``, ``mmr_threshold``), with the same meaning: 1 is relevance alone, 0 is variety
alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def diverse(
    query: NDArray[np.float32], found: NDArray[np.float32], *, count: int, balance: float
) -> list[int]:
    """Return the numbers of the picked rows of ``found``, in the order of picking.

    The first pick is the row nearest to the query. Similarity is the cosine.

    Args:
        query: float, shape ``(D,)``.
        found: float, shape ``(N, D)``, the candidates.
        count: How many to pick; at most N are.
        balance: Between 0 (variety) and 1 (relevance).

    Raises:
        ValueError: ``balance`` is outside of 0 to 1.

    >>> rows = np.array([[1, 0], [1, 0.1], [0, 1]], np.float32)
    >>> diverse(np.array([1, 0], np.float32), rows, count=2, balance=1.0)
    [0, 1]
    >>> diverse(np.array([1, 0], np.float32), rows, count=2, balance=0.0)
    [0, 2]
    """
    if not 0.0 <= balance <= 1.0:
        raise ValueError(
            f"the balance of relevance and variety must be between 0 (variety) and 1 (relevance), "
            f"got {balance}"
        )
    if count < 1 or not len(found):
        return []
    rows = _unit(found)  # (N, D)
    relevance = cosines(query, found)  # (N,)
    picked = [int(np.argmax(relevance))]
    redundancy = rows @ rows[picked[0]]  # (N,)
    while len(picked) < min(count, len(rows)):
        value = balance * relevance - (1.0 - balance) * redundancy
        value[picked] = -np.inf
        picked.append(int(np.argmax(value)))
        redundancy = np.maximum(redundancy, rows @ rows[picked[-1]])
    return picked


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
