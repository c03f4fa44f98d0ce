"""The nearest rows by cosine, exactly, in bounded memory and in a defined order.

Rows come in blocks, so that neither all vectors nor all scores are ever held: memory is of the
order of ``queries x depth`` plus one block of each. Invariant: the result does not depend on how
the rows are cut into blocks; equal scores rank by the row's number, lower first.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_QUERIES = 1024

Scores = NDArray[np.float32]
Numbers = NDArray[np.int64]


def nearest(
    queries: NDArray[np.float32], blocks: Iterable[NDArray[np.float32]], *, depth: int
) -> tuple[Numbers, Scores]:
    """Return, for each query, its best rows, best first.

    Args:
        queries: Unit vectors, shape ``(Q, D)``.
        blocks: Unit vectors in order, each of shape ``(n, D)``, N in all.
        depth: How many rows are wanted; at least one.

    Returns:
        Row numbers and cosines, both of shape ``(Q, min(depth, N))``.

    >>> axes = np.eye(2, dtype=np.float32)
    >>> numbers, cosines = nearest(axes, [axes], depth=1)
    >>> numbers.tolist(), cosines.tolist()
    ([[0], [1]], [[1.0], [1.0]])
    """
    best = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    start = 0
    for block in blocks:
        if not len(block):
            continue
        wanted = min(depth, best.shape[1] + len(block))
        new_best = np.empty((len(queries), wanted), np.float32)
        new_rows = np.empty((len(queries), wanted), np.int64)
        numbers = np.arange(start, start + len(block))
        for first in range(0, len(queries), _QUERIES):
            part = slice(first, first + _QUERIES)
            scores = np.concatenate([best[part], queries[part] @ block.T], axis=1)
            chosen = top_columns(scores, wanted)
            known = np.concatenate(
                [rows[part], np.broadcast_to(numbers, (len(scores), len(block)))], axis=1
            )
            new_best[part] = np.take_along_axis(scores, chosen, axis=1)
            new_rows[part] = np.take_along_axis(known, chosen, axis=1)
        best, rows = new_best, new_rows
        start += len(block)
    order = np.argsort(-best, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(best, order, axis=1)


def top_columns(scores: Scores, count: int) -> NDArray[np.intp]:
    """Return the columns of each row's ``count`` highest scores, in ascending order of column.

    Of equal scores at the edge, the lower columns are taken; ``np.argpartition`` alone would take
    any. Shapes ``(Q, N)`` to ``(Q, count)``, with ``1 <= count <= N``.

    >>> top_columns(np.float32([[1, 3, 1, 1]]), 2).tolist()
    [[0, 1]]
    """
    width = scores.shape[1]
    edge = np.partition(scores, width - count, axis=1)[:, width - count, None]
    above = scores > edge
    tied = scores == edge
    places_left = count - np.count_nonzero(above, axis=1)[:, None]
    kept = above | (tied & (np.cumsum(tied, axis=1, dtype=np.int32) <= places_left))
    return np.nonzero(kept)[1].reshape(len(scores), count)
