"""Score a ranking by the grades of its relevant passages: nDCG or recall of its first places.

As trec_eval defines them: gains are linear, the ideal ranking has all relevant passages of the
query, and recall counts passages of any grade above zero (Järvelin and Kekäläinen 2002).
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, TypeVar, assert_never

from decant.embedders.enum_fields import member

from ..stores.input_errors import StoreInputError

Item = TypeVar("Item", bound=Hashable)


class RankingMeasure(StrEnum):
    """What is measured of the first places of a ranking."""

    NDCG = "ndcg"
    RECALL = "recall"


@dataclass(frozen=True, slots=True, kw_only=True)
class RankingMetric:
    """A measure at a cutoff.

    Args:
        measure: What is measured.
        k: How many of the first places count, 1 to 100.

    Raises:
        StoreInputError: There is no such measure, or ``k`` is out of range.

    >>> str(RankingMetric()), str(RankingMetric.parse("recall@50"))
    ('nDCG@10', 'recall@50')
    """

    measure: RankingMeasure = RankingMeasure.NDCG
    k: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "measure", member(RankingMeasure, self.measure, error=StoreInputError)
        )
        if not 1 <= self.k <= 100:
            raise StoreInputError(f"a metric reads 1 to 100 places, got {self.k}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the metric of a name such as ``ndcg@10``, in small or capital letters.

        Raises:
            StoreInputError: It is no such name.
        """
        found = re.fullmatch(r"(ndcg|recall)@([0-9]{1,3})", text.lower())
        if found is None:
            raise StoreInputError(f"{text!r} is no metric; give ndcg@10 or recall@10, for example")
        return cls(measure=RankingMeasure(found[1]), k=int(found[2]))

    def __str__(self) -> str:
        """Return the name, such as ``nDCG@10``."""
        return f"{'nDCG' if self.measure is RankingMeasure.NDCG else 'recall'}@{self.k}"

    def score(self, ranking: Sequence[Item], grades: Mapping[Item, int]) -> float:
        """Return the metric of one query, 0 to 1.

        Args:
            ranking: Best first, each once.
            grades: The grade of each relevant one, above zero; at least one.
        """
        found = [grades.get(item, 0) for item in ranking[: self.k]]
        match self.measure:
            case RankingMeasure.NDCG:
                ideal = sorted(grades.values(), reverse=True)[: self.k]
                return _discounted(found) / _discounted(ideal)
            case RankingMeasure.RECALL:
                return sum(grade > 0 for grade in found) / len(grades)
            case _:
                assert_never(self.measure)


def _discounted(gains: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(place + 1) for place, gain in enumerate(gains, 1))
