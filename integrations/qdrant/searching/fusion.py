"""Fuse the rankings of several branches of a search into one, here and not in the engine.

So each hit can say what every branch thought of it, weights mean what they say (Qdrant divides a
rank by its weight, so that a larger weight flattens its branch), and equal scores come in the order
of their ids, on every engine. Pure functions of rankings; nothing is fetched here.

With ``w`` the weight of a ranking, ``s`` a score in it and ``rank`` its place there, from 1, a
point's score is the sum over the rankings that hold it of

- RRF: ``w / (k + rank)`` (Cormack, Clarke and Buettcher 2009, "Reciprocal rank fusion outperforms
  Condorcet and individual rank learning methods", SIGIR);
- DBSF: ``w * (s - (mean - 3 * deviation)) / (6 * deviation)``, at least 0, with the mean and the
  deviation (of n - 1) of the ranking's scores, and ``w / 2`` where these are all equal (Mazzeschi
  2023, "Distribution-based score fusion"). Qdrant computes it so, too, but for two things: without
  the bound a hit that is found could be worse than one that is not; and a ranking by words or
  sparse vectors that ended by itself says that all other passages have the score 0 in it, so those
  that other rankings found count with 0 in its mean and its deviation. Then the only passage that
  holds a rare name stands far above the mean, where it would get ``w / 2`` and end below most dense
  hits;
- RELATIVE: ``w * (s - least) / (greatest - least)``, and ``w`` where these are equal (Weaviate's
  relative score fusion).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import assert_never

import numpy as np

from ..stores.protocol import Ranking
from ..stores.search_defaults import Fusion, FusionMethod


def fuse(
    rankings: Mapping[str, Ranking], fusion: Fusion, *, ended: Collection[str] = ()
) -> Ranking:
    """Return the ids and fused scores of all hits of some rankings, best first.

    Of equal scores the smaller id comes first.

    Args:
        rankings: Each by its name.
        fusion: The formula.
        ended: The names of rankings by words or sparse vectors that hold every passage whose score
            is above 0.

    >>> fuse({"dense": [("a", 0.9), ("b", 0.8)], "words": [("b", 7.0)]}, Fusion.rrf(k=1))
    [('b', 0.8333333333333333), ('a', 0.5)]
    """
    found = {identity for ranking in rankings.values() for identity, _ in ranking} if ended else ()
    total: dict[str, float] = {}
    for name in sorted(rankings):  # so that the order of the rankings decides nothing
        ranking = rankings[name]
        zeros = len(found) - len(ranking) if name in ended else 0
        parts = _contributions([score for _, score in ranking], fusion, zeros)
        weight = fusion.weight(name)
        for (identity, _), part in zip(ranking, parts, strict=True):
            total[identity] = total.get(identity, 0.0) + weight * part
    return by_score(total.items())


def by_score(hits: Iterable[tuple[str, float]]) -> Ranking:
    """Return hits, best first; of equal scores the smaller id comes first."""
    found = list(hits)
    if all(one[1] > other[1] for one, other in pairwise(found)):
        return found  # as engines mostly give them
    return sorted(found, key=lambda hit: (-hit[1], hit[0]))


def _contributions(scores: Sequence[float], fusion: Fusion, zeros: int) -> list[float]:
    """Return what a ranking adds to the score of each of its hits, at the weight 1.

    Args:
        scores: Those of its hits, best first.
        fusion: The formula.
        zeros: How many passages are known to have the score 0 in it.
    """
    if not scores:
        return []
    match fusion.method:
        case FusionMethod.RRF:
            return [1.0 / (fusion.k + rank) for rank in range(1, len(scores) + 1)]
        case FusionMethod.DBSF:
            count = len(scores) + zeros
            values = np.array(scores)
            mean = float(values.sum()) / count
            squares = float(np.square(values - mean).sum()) + zeros * mean**2
            if squares == 0.0 or (not zeros and values.min() == values.max()):
                return [0.5] * len(scores)
            deviation = math.sqrt(squares / (count - 1))
            shares = (values - (mean - 3 * deviation)) / (6 * deviation)
            found: list[float] = np.maximum(shares, 0.0).tolist()
            return found
        case FusionMethod.RELATIVE:
            least, greatest = min(scores), max(scores)
            if least == greatest:
                return [1.0] * len(scores)
            return [(score - least) / (greatest - least) for score in scores]
        case _:
            assert_never(fusion.method)
