"""Fuse the rankings of several branches of a search into one, here and not in the engine.

So each hit can say what every branch thought of it, weights mean what they say (Qdrant divides a
rank by its weight, so that a larger weight flattens its branch), and equal scores come in the order
of their ids, on every engine. Pure functions of rankings; nothing is fetched here.

With ``w`` the weight of a branch, ``s`` a score in it and ``rank`` its place there, from 1, a
point's score is the sum over the branches that hold it of

- RRF: ``w / (k + rank)`` (Cormack, Clarke and Buettcher 2009, "Reciprocal rank fusion outperforms
  Condorcet and individual rank learning methods", SIGIR);
- DBSF: ``w * (s - (mean - 3 * deviation)) / (6 * deviation)``, at least 0, with the mean and the
  deviation (of n - 1) of the branch's scores, and ``w / 2`` where these are all equal (Mazzeschi
  2023, "Distribution-based score fusion"). Qdrant computes it so, too, but for two things: without
  the bound a hit that is found could be worse than one that is not; and where a ranking by words or
  sparse vectors has fewer hits than ``depth``, the empty places count with the score 0, which is
  what other passages have there. So the only passage that holds a rare name stands far above the
  mean, where it would get ``w / 2`` and end below most of the dense ranking;
- RELATIVE: ``w * (s - least) / (greatest - least)``, and ``w`` where these are equal (Weaviate's
  relative score fusion).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import assert_never

from ..points.passages import BranchScore
from ..stores.protocol import Ranking
from ..stores.queries import SearchMode
from ..stores.search_defaults import Fusion, FusionMethod

# The branches in which a passage that is not found has the score 0, exactly.
_ZERO_WITHOUT = frozenset({SearchMode.SPARSE.value, SearchMode.WORDS.value})


def fuse(rankings: Mapping[str, Ranking], fusion: Fusion) -> Ranking:
    """Return the ids and fused scores of all hits of some branches, best first.

    Of equal scores the smaller id comes first.

    Args:
        rankings: Each branch by its name.
        fusion: The formula.

    >>> fuse({"dense": [("a", 0.9), ("b", 0.8)], "words": [("b", 7.0)]}, Fusion.rrf(k=1))
    [('b', 0.8333333333333333), ('a', 0.5)]
    """
    total: dict[str, float] = {}
    for name in sorted(rankings):  # so that the order of the branches decides nothing
        ranking = rankings[name]
        parts = _contributions(name, ranking, fusion)
        for (identity, _), part in zip(ranking, parts, strict=True):
            total[identity] = total.get(identity, 0.0) + part
    return by_score(total.items())


def by_score(hits: Iterable[tuple[str, float]]) -> Ranking:
    """Return hits, best first; of equal scores the smaller id comes first."""
    return sorted(hits, key=lambda hit: (-hit[1], hit[0]))


def branches_of(identity: str, rankings: Mapping[str, Ranking]) -> tuple[BranchScore, ...]:
    """Return the places of a hit in the rankings that hold it."""
    return tuple(
        BranchScore(name=name, rank=rank, score=score)
        for name, ranking in rankings.items()
        for rank, (held, score) in enumerate(ranking, 1)
        if held == identity
    )


def _contributions(name: str, ranking: Ranking, fusion: Fusion) -> list[float]:
    """Return what a branch adds to the score of each of its hits."""
    weight = fusion.weight(name)
    scores = [score for _, score in ranking]
    if not scores:
        return []
    match fusion.method:
        case FusionMethod.RRF:
            return [weight / (fusion.k + rank) for rank in range(1, len(scores) + 1)]
        case FusionMethod.DBSF:
            empty = max(0, fusion.depth - len(scores)) if name in _ZERO_WITHOUT else 0
            places = len(scores) + empty
            mean = math.fsum(scores) / places
            # Not statistics.stdev, whose exact fractions take longer than all the rest.
            squares = math.fsum((score - mean) ** 2 for score in scores) + empty * mean**2
            if squares == 0.0 or (not empty and min(scores) == max(scores)):
                return [weight / 2] * len(scores)
            deviation = math.sqrt(squares / (places - 1))
            least = mean - 3 * deviation
            return [weight * max(0.0, (score - least) / (6 * deviation)) for score in scores]
        case FusionMethod.RELATIVE:
            least, greatest = min(scores), max(scores)
            if least == greatest:
                return [weight] * len(scores)
            return [weight * (score - least) / (greatest - least) for score in scores]
        case _:
            assert_never(fusion.method)
