"""Which of several candidates explains each stored vector, and how sure a share of a sample is.

Pure arithmetic over cosines. Invariant: the fewest candidates that explain most are named, and one
that is listed first wins where two explain the same points.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .settings import Gate

UNEXPLAINED = -1
_NORMAL = 1.959963984540054  # the 97.5th percentile of the normal distribution


def cosines(stored: NDArray[np.float32], made: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows; 0 where one is zeros.

    Args:
        stored: float32, shape (N, D).
        made: float32, shape (N, D).
    """
    first, second = stored.astype(np.float64), made.astype(np.float64)
    product = np.einsum("nd,nd->n", first, second)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    found = np.divide(product, lengths, out=np.zeros(len(product)), where=lengths > 0)
    return np.asarray(found, np.float64)


def explain(found: NDArray[np.float64], gate: Gate) -> NDArray[np.int64]:
    """Return for each point the candidate that explains it, or :data:`UNEXPLAINED`.

    A candidate can explain a point whose vector is its own up to the gate, unless another one is
    nearer. The candidate that can explain most points gets all of these; then the one that can
    explain most of the rest, and so on.

    Args:
        found: The cosines of K candidates with N points, shape (K, N).
        gate: When two vectors count as the same.
    """
    best = found.max(axis=0, initial=-1.0)
    can = (found >= gate.cosine) & (found >= best - gate.tie)  # (K, N)
    chosen = np.full(found.shape[1], UNEXPLAINED, np.int64)
    while True:
        open_ = can & (chosen == UNEXPLAINED)
        counts = open_.sum(axis=1)
        if not len(counts) or not counts.max():
            return chosen
        first = int(counts.argmax())
        chosen[open_[first]] = first


def wilson(count: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share by Wilson's score (E. B. Wilson 1927, JASA 22).

    >>> [round(bound, 3) for bound in wilson(0, 100)]
    [0.0, 0.037]
    """
    if total == 0:
        return 0.0, 1.0
    share, square = count / total, _NORMAL**2
    scale = 1 + square / total
    middle = (share + square / (2 * total)) / scale
    half = _NORMAL / scale * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return max(0.0, middle - half), min(1.0, middle + half)
