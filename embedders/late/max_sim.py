"""MaxSim: compare the token vectors of a query with those of passages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import TextError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Measured (experiments/log/2026-12-01-late-interaction.md): so many tokens and their products with
# a query stay in a core's cache, and the product takes two thirds of the time.
_BLOCK = 1_024


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

    Passages are compared in products of some thousand tokens, not one by one.

    Raises:
        TextError: As in :func:`max_sim`.
    """
    for number, one in enumerate(passages):
        if one.ndim != 2 or not len(one) or query.ndim != 2 or one.shape[1] != query.shape[1]:
            raise TextError(
                f"token vectors are compared as (tokens, width) arrays of one width and a token at "
                f"least; the query's are {query.shape} and those of passage {number} {one.shape}"
            )
    scores = np.empty(len(passages), np.float32)
    start = 0
    while start < len(passages):
        end, tokens = start, 0
        while end < len(passages) and tokens < _BLOCK:
            tokens += len(passages[end])
            end += 1
        scores[start:end] = _block(query, passages[start:end])
        start = end
    return scores


def _block(
    query: NDArray[np.float32], passages: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    starts = np.cumsum([0, *(len(one) for one in passages[:-1])])
    products = np.concatenate(passages) @ query.T  # (P1 + … + PN, Q)
    best = np.maximum.reduceat(products, starts, axis=0)  # (N, Q)
    return np.asarray(best.sum(axis=1), np.float32)
