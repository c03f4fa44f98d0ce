"""Queries of a store: by dense vector, by sparse vector, or by both fused.

Qdrant itself fuses both, with reciprocal rank fusion (Cormack, Clarke and Buettcher 2009,
"Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", SIGIR): a
point's score is the sum, over the rankings that hold it, of ``1 / (60 + rank)``, ranks from 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias, Union

from .sparse_vector import SparseVector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Qdrant counts ranks from 0, with k = 2 by default: 1 / (61 + rank) is the paper's k = 60.
RRF_K = 61


class SearchMode(StrEnum):
    """The vectors by which passages are found, which also decide a hit's score.

    DENSE: by the cosine of dense vectors, -1 to 1. SPARSE: by the inner product of sparse vectors,
    above 0; passages that share no weighted token with the query are not found. HYBRID: by
    reciprocal rank fusion of both rankings, at most 2/61 = 0.0328. Scores show the order within one
    search and nothing else. Passages in only one ranking are found, too.
    """

    DENSE = "dense"
    SPARSE = "sparse"
    HYBRID = "hybrid"


Single: TypeAlias = Union["NDArray[np.float32]", SparseVector]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HybridQuery:
    """A query by both vectors.

    Args:
        dense: float32, shape ``(D,)``.
        sparse: None for a query without any weight; then only the dense ranking counts, and scores
            are still those of a fusion.
    """

    dense: NDArray[np.float32]
    sparse: SparseVector | None

    @property
    def parts(self) -> list[Single]:
        """The queries whose rankings are fused, in this order."""
        return [self.dense] if self.sparse is None else [self.dense, self.sparse]


Query: TypeAlias = Single | HybridQuery


def prefetched(limit: int, offset: int) -> int:
    """Return the depth of each ranking that is fused.

    It is at least the number of wanted hits, or a later page would lack hits of one ranking.

    >>> prefetched(10, 0), prefetched(10, 100)
    (40, 110)
    """
    return max(4 * limit, limit + offset)


def bounded(query: Query, scores: Iterable[float]) -> list[float]:
    """Return the scores of hits, clipped to [-1, 1] for a dense query.

    Engines round, and return a cosine of 1.0000001 for two equal vectors.

    >>> from numpy import ones
    >>> bounded(ones(2), [1.0000001, 0.5])
    [1.0, 0.5]
    """
    if isinstance(query, HybridQuery | SparseVector):
        return list(scores)
    return [max(-1.0, min(1.0, score)) for score in scores]
