"""Pool the token vectors of a passage to fewer, which take less space.

Hierarchical clustering by Ward's method, each cluster replaced by its mean (Clavié, Chaffin and
Adams, arXiv 2409.14683, section 3). The vectors of queries are never pooled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import TextError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def pool_tokens(vectors: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Return at most ``most`` vectors of unit length in place of the token vectors of a passage.

    Clusters are merged by Ward's method on the cosine distance ``1 - a · b``, as the paper's code
    does. Vectors that are few enough are returned as they are.

    Args:
        vectors: float32, shape ``(T, d)``, of unit length.
        most: How many may remain, at least 1.

    Returns:
        float32, shape ``(min(T, most), d)``, in the order of each cluster's first token.

    Raises:
        TextError: ``most`` is below 1.

    >>> rows = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    >>> pool_tokens(rows, 2)
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    if most < 1:
        raise TextError(f"a passage keeps at least 1 token vector, got {most}")
    if len(vectors) <= most:
        return vectors
    owner = _clusters(vectors, most)
    sums = np.zeros((int(owner.max()) + 1, vectors.shape[1]), np.float64)
    np.add.at(sums, owner, vectors)
    kept = sums[np.unique(owner)]
    lengths = np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), 1e-12)
    return np.asarray(kept / lengths, np.float32)


def _clusters(vectors: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Return for each token the first token of its cluster, shape (T,)."""
    tokens = len(vectors)
    rows = vectors.astype(np.float64)
    apart = np.clip(1.0 - rows @ rows.T, 0.0, 2.0) ** 2  # squared, as Lance and Williams update
    np.fill_diagonal(apart, np.inf)
    sizes = np.ones(tokens)
    owner = np.arange(tokens)
    nearest = apart.argmin(axis=1)
    for _ in range(tokens - count):
        distances = apart[np.arange(tokens), nearest]
        one = int(distances.argmin())
        first, second = sorted((one, int(nearest[one])))
        merged = _merged(apart, sizes, first, second)
        apart[first], apart[:, first] = merged, merged
        apart[second], apart[:, second] = np.inf, np.inf
        sizes[first] += sizes[second]
        owner[owner == second] = first
        # Rows whose nearest is gone or changed look again; others only compare with the new one.
        stale = np.flatnonzero((nearest == first) | (nearest == second))
        stale = np.union1d(stale, [first, second])
        nearest[stale] = apart[stale].argmin(axis=1)
        closer = merged < apart[np.arange(tokens), nearest]
        nearest[closer] = first
    return owner


def _merged(
    apart: NDArray[np.float64], sizes: NDArray[np.float64], first: int, second: int
) -> NDArray[np.float64]:
    """Return the squared distances of a merged cluster to all others (Lance and Williams 1967)."""
    one, other = sizes[first], sizes[second]
    total = one + other + sizes
    both = (one + sizes) * apart[first] + (other + sizes) * apart[second]
    found = (both - sizes * apart[first, second]) / total
    found[[first, second]] = np.inf
    return np.asarray(np.where(np.isfinite(found), found, np.inf), np.float64)
