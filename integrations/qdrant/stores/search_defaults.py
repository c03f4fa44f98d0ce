"""How a collection is searched: the fusion of its rankings, and the defaults that it keeps.

These are values, which metadata hold; rankings are fused in ``searching/fusion.py``, where the
formulas are. Invariant: only defaults whose mode is HYBRID have a fusion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from decant.embedders import StoreError
from decant.embedders.enum_fields import member
from decant.embedders.json_records import decode

from .input_errors import StoreInputError
from .queries import SearchMode, check_rankings

RRF_K = 60
"""The ``k`` of the paper. Qdrant counts ranks from 0, so that its own ``k`` is one more."""
DEPTH = 100
"""How many hits of each branch are fused."""
_MOST = 1_000_000


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
            leaves the hits that only this branch found at the end of each depth.
        k: For RRF: how much the first places count, at least 1; less than 60 makes them count more.
        depth: How many hits of each branch are fused. A page beyond them fetches more, and comes
            behind them.

    Raises:
        StoreError: A weight is negative or not finite, or ``k`` or ``depth`` is below 1.

    >>> Fusion.rrf(k=20, weights={"words": 2}).weight("words")
    2.0
    """

    method: FusionMethod = FusionMethod.DBSF
    weights: Mapping[str, float] = field(default_factory=dict, hash=False)
    k: int = RRF_K
    depth: int = DEPTH

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", FusionMethod(self.method))
        object.__setattr__(self, "weights", dict(self.weights))
        check_rankings(self.weights, "the fusion's weights")
        for name, weight in self.weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise StoreInputError(f"the weight of {name!r} is at least 0, got {weight!r}")
        if not (1 <= self.k <= _MOST and 1 <= self.depth <= _MOST):
            raise StoreInputError(
                f"k and depth are from 1 to {_MOST:,}, got k={self.k}, depth={self.depth}"
            )

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchDefaults:
    """How a collection is searched where a search does not specify it.

    Args:
        mode: The ranking.
        fusion: How HYBRID makes one ranking of several; None: :class:`Fusion`'s defaults.

    Raises:
        StoreError: There is no such mode, or ``fusion`` is given for another mode than HYBRID.

    >>> print(SearchDefaults(mode="hybrid", fusion=Fusion.dbsf(weights={"dense": 0.7})))
    hybrid, dbsf, dense=0.7
    """

    mode: SearchMode
    fusion: Fusion | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", member(SearchMode, self.mode, error=StoreError))
        if self.fusion is not None and self.mode is not SearchMode.HYBRID:
            raise StoreError(
                f"the mode {self.mode.value!r} has one ranking, which is not fused; leave fusion "
                "out, or choose the mode 'hybrid'"
            )

    @classmethod
    def from_json(cls, data: object, *, where: str) -> Self | None:
        """Return the defaults in the metadata of a collection; None if it has none.

        Args:
            data: What ``encode`` of ``decant.embedders.json_records`` made of them, or None.
            where: The collection, for messages.

        Raises:
            StoreError: They are damaged, or a newer decant wrote them.
        """
        if data is None:
            return None
        try:
            return decode(cls, data, where="search", error=StoreError)
        except StoreError as error:
            raise StoreError(
                f"the search defaults of {where} cannot be read ({error}); if a newer decant wrote "
                "them, upgrade decant, or remove them with store.set_search_defaults(name, None)"
            ) from error

    def __str__(self) -> str:
        """Return the mode, the formula and the weights, as a reader sees them."""
        if self.mode is not SearchMode.HYBRID:
            return self.mode.value
        fusion = self.fusion or Fusion()
        shown = [self.mode.value, fusion.method.value]
        if fusion.method is FusionMethod.RRF:
            shown.append(f"k={fusion.k}")
        shown += [f"{name}={weight:g}" for name, weight in fusion.weights.items()]
        return ", ".join(shown)

    def complete(
        self, mode: SearchMode | None, fusion: Fusion | None
    ) -> tuple[SearchMode | None, Fusion | None]:
        """Return the mode and the fusion of a search; what it specifies itself stays.

        A fusion belongs to its mode: it is filled in only where the mode is that of the defaults.
        """
        if mode is None and fusion is None:
            return self.mode, self.fusion
        if fusion is None and mode == self.mode:
            return mode, self.fusion
        return mode, fusion
