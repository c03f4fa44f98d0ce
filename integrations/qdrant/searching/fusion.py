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
  2023, "Distribution-based score fusion", as Qdrant computes it but for the bound: a hit that is
  found is never worse than one that is not);
- RELATIVE: ``w * (s - least) / (greatest - least)``, and ``w`` where these are equal (Weaviate's
  relative score fusion).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from ..points.passages import BranchScore
from ..stores.search_defaults import Fusion, FusionMethod

Ranking: TypeAlias = Sequence[tuple[str, float]]
"""The ids and scores of a branch's hits, best first, each id once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedHit:
    """The id of a hit with its fused score and those of the branches that found it."""

    id: str
    score: float
    branches: tuple[BranchScore, ...]


def fuse(rankings: Mapping[str, Ranking], fusion: Fusion) -> list[FusedHit]:
    """Return all hits of some branches, best first; of equal scores the smaller id comes first.

    Args:
        rankings: Each branch by its name.
        fusion: The formula.

    >>> [hit.id for hit in fuse({"dense": [("a", 0.9), ("b", 0.8)], "words": [("b", 7.0)]},
    ...                         Fusion.rrf())]
    ['b', 'a']
    """
    parts: dict[str, list[float]] = {}
    branches: dict[str, list[BranchScore]] = {}
    for name, ranking in rankings.items():
        found = _contributions(ranking, fusion, fusion.weight(name))
        for rank, ((identity, score), part) in enumerate(zip(ranking, found, strict=True), 1):
            parts.setdefault(identity, []).append(part)
            branch = BranchScore(name=name, rank=rank, score=score)
            branches.setdefault(identity, []).append(branch)
    # fsum, so that the order of the branches decides nothing.
    hits = [
        FusedHit(id=identity, score=math.fsum(found), branches=tuple(branches[identity]))
        for identity, found in parts.items()
    ]
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def _contributions(ranking: Ranking, fusion: Fusion, weight: float) -> list[float]:
    """Return what a branch adds to the score of each of its hits."""
    scores = [score for _, score in ranking]
    if not scores:
        return []
    match fusion.method:
        case FusionMethod.RRF:
            return [weight / (fusion.k + rank) for rank in range(1, len(scores) + 1)]
        case FusionMethod.DBSF:
            mean = math.fsum(scores) / len(scores)
            # Not statistics.stdev, whose exact fractions take longer than all the rest.
            squares = math.fsum((score - mean) ** 2 for score in scores)
            if squares == 0.0 or min(scores) == max(scores):
                return [weight / 2] * len(scores)
            deviation = math.sqrt(squares / (len(scores) - 1))
            least = mean - 3 * deviation
            return [weight * max(0.0, (score - least) / (6 * deviation)) for score in scores]
        case FusionMethod.RELATIVE:
            least, greatest = min(scores), max(scores)
            if least == greatest:
                return [weight] * len(scores)
            return [weight * (score - least) / (greatest - least) for score in scores]
        case _:
            assert_never(fusion.method)


def fuse_in_depths(
    fetch: Callable[[int], Mapping[str, Ranking]], fusion: Fusion
) -> Iterator[FusedHit]:
    """Yield fused hits, best first, fetching more as they run out; pages cut from it never overlap.

    The hits of the first ``fusion.depth`` places of each branch come first, in their order; then
    those that twice this depth adds, in theirs, and so on. What a page holds does not depend on how
    large pages are.

    Args:
        fetch: Returns the rankings of a search, each to at most so many places.
        fusion: The formula.
    """
    seen: set[str] = set()
    depth = fusion.depth
    while True:
        rankings = fetch(depth)
        for hit in fuse(rankings, fusion):
            if hit.id not in seen:
                seen.add(hit.id)
                yield hit
        if all(len(ranking) < depth for ranking in rankings.values()):
            return
        depth *= 2
