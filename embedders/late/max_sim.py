"""MaxSim: compare the token vectors of a query with those of passages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TextError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def max_sim(query: NDArray[np.float32], passage: NDArray[np.float32]) -> float:
    """Return how well the tokens of a passage match those of a query.

    ``sum over query tokens q of max over passage tokens p of q · p`` (ColBERT, arXiv 2004.12832,
    section 3.2). With unit vectors it lies between minus and plus the number of query tokens.

    Args:
        query: Token vectors, float32, shape ``(Q, d)``, encoded as :attr:`Role.QUERY`.
        passage: Token vectors, float32, shape ``(P, d)``, P at least 1, encoded as
            :attr:`Role.PASSAGE`.

    Raises:
        TextError: They differ in width, or the passage has no token vectors.

    >>> max_sim(np.eye(2, dtype=np.float32), np.array([[0.5, 0], [0.25, 0.75]], np.float32))
    1.25
    """
    return float(max_sims(query, [passage])[0])


def max_sims(
    query: NDArray[np.float32], passages: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return :func:`max_sim` of a query and each of N passages, float32, shape ``(N,)``.

    All passages are compared in one product, which takes a fraction of the time of N small ones.

    Raises:
        TextError: As in :func:`max_sim`.
    """
    for number, one in enumerate(passages):
        if one.ndim != 2 or not len(one) or query.ndim != 2 or one.shape[1] != query.shape[1]:
            raise TextError(
                f"token vectors are compared as (tokens, width) arrays of one width and a token at "
                f"least; the query's are {query.shape} and those of passage {number} {one.shape}"
            )
    if not passages:
        return np.zeros(0, np.float32)
    flat = np.concatenate(passages)  # (P1 + … + PN, d)
    starts = np.cumsum([0, *(len(one) for one in passages[:-1])])
    best = np.maximum.reduceat(query @ flat.T, starts, axis=1)  # (Q, N)
    return np.asarray(best.sum(axis=0), np.float32)
