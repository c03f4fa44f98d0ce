"""What a search may ask for beside its page: thresholds, groups, boosts, variety, exactness.

All of it is done by decant over the rankings of the engine, so that it means the same on every one;
only ``ef`` and ``exact`` are the engine's own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..stores.filters import Field, Key, check_key
from ..stores.input_errors import StoreInputError
from ..stores.queries import check_rankings

if TYPE_CHECKING:
    from decant.embedders import Reranker

LATE = "late"
"""The name of the ranking by token vectors."""

RERANK = "rerank"
"""The name of the reranker's ranking among the branches of a hit."""

_MOST = 1_000_000  # candidates, hits of a group
_LARGEST = sys.float_info.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """At most ``size`` hits of each group; the limit and the offset of a search count groups.

    Groups come in the order of their best hits, and the hits of a group stand together. A group is
    filled from the first ``100 * size`` places of each ranking (:attr:`Fusion.depth`), or, where
    the group is found only deeper, from as deep as that; so it may hold fewer hits than there are.

    Args:
        by: The metadata entry, or decant's own field, whose value makes a group; None: the
            document, which is told apart by its root and its source. A passage without the entry,
            and a record without a source, is a group of its own.
        size: How many hits of each, at least 1.

    Raises:
        StoreError: ``size`` is below 1, or ``by`` is no key of an entry.
    """

    by: Key | Field | None = None
    size: int = 1

    def __post_init__(self) -> None:
        _check_count(self.size, "size of a group")
        if self.by is not None and not isinstance(self.by, Field):
            check_key(self.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """Late interaction: the best hits in the order of :func:`max_sim`, which becomes their score.

    The engine compares the token vectors of the query with those of the candidates. Hits without
    token vectors, whose vectors a caller gave, come behind all others, with the lowest score that
    there can be: minus one for each token of the query. The places of a search fall into blocks of
    ``candidates``, each of which is ordered by itself, so that pages never overlap.

    Args:
        candidates: How many hits are compared at a time, at least 1.

    Raises:
        StoreError: ``candidates`` is below 1.
    """

    candidates: int = 100

    def __post_init__(self) -> None:
        _check_count(self.candidates, "number of candidates")


@dataclass(frozen=True, slots=True)
class Recency:
    """Raises the scores of recent passages: by ``weight`` now, by half of it at ``half_life``.

    The share is ``weight * 0.5 ** (age / half_life)`` of the score (:class:`SearchOptions`). A
    moment in the future has the age 0; a passage without the entry, or with one that is no date or
    time, gets nothing.

    Args:
        key: The metadata entry with a date or time in ISO 8601 form, as metadata store them; one
            without an offset is UTC, and a date is its midnight in UTC.
        half_life: The age at which half of the weight is left, above zero.
        weight: 0.2: a passage of this moment counts 20 % more. Below 0 it counts less.
        at: The moment from which ages count; None: that of the search.

    Raises:
        StoreError: ``half_life`` is not above zero, or ``weight`` is not finite.
    """

    key: Key
    _: KW_ONLY
    half_life: timedelta
    weight: float
    at: datetime | None = None

    def __post_init__(self) -> None:
        check_key(self.key)
        _check_kind(self.half_life, timedelta, "half_life")
        if self.at is not None:
            _check_kind(self.at, datetime, "at")
        if not self.half_life > timedelta():
            raise StoreInputError(f"a half-life is above zero, got {self.half_life}")
        _check_finite(self.weight, "weight of a boost")


@dataclass(frozen=True, slots=True)
class Boost:
    """Raises the scores of passages by a number in their metadata.

    The share is ``weight`` times the number, of the score (:class:`SearchOptions`); True counts 1.
    A passage without the entry, or with one that is no number, gets nothing.

    Args:
        key: The metadata entry.
        weight: 0.1: a passage with the number 2 counts 20 % more. Below 0 it counts less.

    Raises:
        StoreError: ``weight`` is not finite.
    """

    key: Key
    _: KW_ONLY
    weight: float

    def __post_init__(self) -> None:
        check_key(self.key)
        _check_finite(self.weight, "weight of a boost")


@dataclass(frozen=True, slots=True, kw_only=True)
class MMR:
    """Maximal marginal relevance: hits that fit the query and differ from each other.

    Carbonell and Goldstein 1998 (SIGIR): each pick maximises ``balance`` times its relevance minus
    ``1 - balance`` times its largest cosine with those picked before. The relevance is the cosine
    with the query in a search by dense vectors; in the other modes the score, scaled to 0 to 1 over
    the candidates. Scores of hits stay those of the mode; their order is that of the picks.

    Args:
        balance: 1 is relevance alone, 0 is variety alone.
        candidates: From how many of the best hits to pick. When these are used up, a page goes on
            with as many of the next best.

    Raises:
        StoreError: ``balance`` is not between 0 and 1, or ``candidates`` is below 1.
    """

    balance: float = 0.5
    candidates: int = 50

    def __post_init__(self) -> None:
        _check_finite(self.balance, "balance of relevance and variety")
        _check_count(self.candidates, "candidates")
        if not 0.0 <= self.balance <= 1.0:
            raise StoreInputError(
                "the balance of relevance and variety is between 0 (variety) and 1 (relevance), "
                f"got {self.balance}"
            )


@dataclass(frozen=True, slots=True)
class Rerank:
    """Orders the best hits of a search anew, by the scores of a reranker on their stored texts.

    The first ``candidates`` places of the search, whatever its mode and its other options, are
    scored and come in the order of these scores, equal ones in the order that they had. When they
    are used up, a page goes on with as many of the next best, which are scored when a page reaches
    them. So pages never overlap, and a hit beyond the candidates never comes before one of them: a
    search for more hits than ``candidates`` should raise that number.

    Args:
        reranker: Scores a query with passages; ``load_reranker`` opens one.
        candidates: How many of the best hits to score, at least 1; with ``group``, how many groups,
            all of whose hits are scored.
        instruction: The task, for rerankers that take one, in place of the recipe's own.

    Raises:
        StoreError: ``reranker`` is something else, or ``candidates`` is below 1.
    """

    reranker: Reranker
    _: KW_ONLY
    candidates: int = 50
    instruction: str | None = None

    def __post_init__(self) -> None:
        if not callable(getattr(self.reranker, "score_pairs", None)):
            raise StoreInputError(
                f"rerank takes a reranker, got {self.reranker!r}; open one with "
                "decant.embedders.load_reranker(path)"
            )
        _check_count(self.candidates, "candidates")
        if self.instruction is not None and not isinstance(self.instruction, str):
            raise StoreInputError(f"an instruction is a string, got {self.instruction!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """What a search asks for beside its page.

    They apply in this order: thresholds, fusion, boosts, ``distinct``, groups or variety, and then
    the reranker, by whose scores alone its candidates are ordered. Boosts
    add to a score ``s`` their shares of its size, ``s + abs(s) * sum(shares)``, and sort the hits
    of each depth (:class:`Fusion`) anew. A search whose boosts make a score too large for a float
    is refused. If no candidate has the entry that a boost reads, the search logs a warning.

    Args:
        score_threshold: The least score of a hit, for a search by a single ranking; or by the name
            of the ranking (``{"dense": 0.3}``), which a fused search needs. Boosts do not count.
            ``{"rerank": 0.5}`` is one of the reranker's score; nothing beyond its candidates is
            found then.
        group: How many hits of each document, or of each value of an entry; None: any number.
        distinct: Whether passages of equal texts are returned once, the best of them.
        boosts: What raises scores: dates, numbers.
        mmr: How to choose hits that differ from each other; None: the best ones.
        ef: How many candidates the engine examines in its index of dense vectors (HNSW's ``ef``);
            more is slower and misses fewer. None: the engine's own setting.
        exact: Whether dense vectors are compared with all instead of by the index.
        late: Orders the best hits anew by the vectors of their tokens, before boosts, groups and
            variety; None: not.
        rerank: A reranker, which orders the best hits anew. With it a threshold needs the name of
            its ranking.

    Raises:
        StoreError: A threshold is not finite, ``ef`` is below 1 or given with ``exact``, or
            ``mmr`` is given with ``group`` or ``rerank``.
    """

    score_threshold: float | Mapping[str, float] | None = field(default=None, hash=False)
    group: Group | None = None
    distinct: bool = False
    boosts: Sequence[Recency | Boost] = ()
    mmr: MMR | None = None
    ef: int | None = None
    exact: bool = False
    late: Late | None = None
    rerank: Rerank | None = None

    def __post_init__(self) -> None:
        if self.score_threshold is not None:
            object.__setattr__(self, "score_threshold", _checked_threshold(self.score_threshold))
        for value, kind, name in (
            (self.group, Group, "group"),
            (self.mmr, MMR, "mmr"),
            (self.late, Late, "late"),
            (self.boosts, Sequence, "boosts"),
            (self.rerank, Rerank, "rerank"),
        ):
            if value is not None:
                _check_kind(value, kind, name)
        object.__setattr__(self, "boosts", tuple(self.boosts))
        for boost in self.boosts:
            if not isinstance(boost, Recency | Boost):
                raise StoreInputError(f"boosts holds Recency and Boost, got {boost!r}")
        if self.ef is not None:
            _check_count(self.ef, "ef")
            if self.exact:
                raise StoreInputError("ef has no effect on an exact search; give one of them")
        if self.group is not None and self.mmr is not None:
            raise StoreInputError("group and mmr both choose the hits of a page; give one of them")
        if self.rerank is not None:
            self._check_reranked(self.score_threshold)

    def _check_reranked(self, threshold: float | Mapping[str, float] | None) -> None:
        if self.mmr is not None:
            raise StoreInputError("mmr and rerank both order the hits of a page; give one of them")
        if threshold is not None and not isinstance(threshold, Mapping):
            raise StoreInputError(
                "a search with a reranker has the scores of several rankings, so a threshold needs "
                f"the name of one, such as {{{RERANK!r}: {threshold}}} or {{'dense': {threshold}}}"
            )

    @property
    def keeps_order(self) -> bool:
        """Whether the hits are the first ones of the ranking, in its order."""
        return not (self.group or self.distinct or self.boosts or self.mmr or self.late)


def with_rerank(
    options: SearchOptions | None, reranker: Reranker | None, candidates: int | None
) -> SearchOptions | None:
    """Return the options of a search with the reranker that it names itself.

    Args:
        options: Those of the search.
        reranker: None: that of the options, if they have one.
        candidates: How many hits it scores; None: as :class:`Rerank` does.

    Raises:
        StoreError: Both name a reranker, or ``candidates`` is given without one.
    """
    if reranker is None:
        if candidates is not None:
            raise StoreInputError(
                f"candidates={candidates!r} says how many hits a reranker scores; give rerank=, too"
            )
        return options
    if options is not None and options.rerank is not None:
        raise StoreInputError("a reranker is given as rerank= and in options; give one of them")
    rerank = Rerank(reranker) if candidates is None else Rerank(reranker, candidates=candidates)
    return replace(options or SearchOptions(), rerank=rerank)


def _checked_threshold(given: object) -> float | dict[str, float]:
    if not isinstance(given, Mapping):
        return _check_finite(given, "score_threshold")
    check_rankings(given.keys() - {LATE, RERANK}, "score_threshold")
    return {name: _check_finite(bound, "score_threshold") for name, bound in given.items()}


def _check_kind(value: object, kind: type, name: str) -> None:
    if not isinstance(value, kind) or isinstance(value, str):
        raise StoreInputError(f"{name} is a {kind.__name__}, got {value!r}")


def _check_count(value: object, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
        raise StoreInputError(f"the {name} is a whole number from 1 to {_MOST:,}, got {value!r}")


def _check_finite(value: object, name: str) -> float:
    # Not math.isfinite, which fails for whole numbers that are too large for a float.
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not -_LARGEST <= value <= _LARGEST
    ):
        raise StoreInputError(f"the {name} is a finite number, got {value!r}")
    return value
