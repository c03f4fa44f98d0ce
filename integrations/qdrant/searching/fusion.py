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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Self, assert_never

from decant.embedders import StoreError

from ..points.passages import BranchScore
from ..stores.protocol import Ranking

RRF_K = 60
"""The ``k`` of the paper. Qdrant counts ranks from 0, so that its own ``k`` is one more."""
DEPTH = 100
"""How many hits of each branch are fused."""


class FusionMethod(StrEnum):
    """The formula by which rankings are fused; see :mod:`decant.integrations.qdrant`."""

    RRF = "rrf"
    DBSF = "dbsf"
    RELATIVE = "relative"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """How the rankings of a search become one.

    Args:
        method: The formula.
        weights: The weight of a branch by its name; those without have the weight 1. A weight of 0
            leaves the hits that only this branch found at the end.
        k: For RRF: how much the first places count, at least 1; less than 60 makes them count more.
        depth: How many hits of each branch are fused. A page beyond them fetches more, and comes
            behind them.

    Raises:
        StoreError: A weight is negative or not finite, or ``k`` or ``depth`` is below 1.

    >>> Fusion.rrf(k=20, weights={"words": 2}).weight("words")
    2.0
    """

    method: FusionMethod = FusionMethod.DBSF
    weights: Mapping[str, float] = field(default_factory=dict)
    k: int = RRF_K
    depth: int = DEPTH

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", FusionMethod(self.method))
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))
        for name, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise StoreError(f"the weight of {name!r} is at least 0, got {weight!r}")
        if self.k < 1 or self.depth < 1:
            raise StoreError(f"k and depth are at least 1, got k={self.k}, depth={self.depth}")

    @classmethod
    def rrf(cls, *, k: int = RRF_K, weights: Mapping[str, float] | None = None) -> Self:
        """Return reciprocal rank fusion."""
        return cls(method=FusionMethod.RRF, k=k, weights=weights or {})

    @classmethod
    def dbsf(cls, *, weights: Mapping[str, float] | None = None) -> Self:
        """Return distribution-based score fusion."""
        return cls(method=FusionMethod.DBSF, weights=weights or {})

    @classmethod
    def relative(cls, *, weights: Mapping[str, float] | None = None) -> Self:
        """Return relative score fusion."""
        return cls(method=FusionMethod.RELATIVE, weights=weights or {})

    def weight(self, branch: str) -> float:
        """Return the weight of a branch."""
        return float(self.weights.get(branch, 1.0))


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
        parts = _contributions(ranking, fusion, fusion.weight(name))
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
