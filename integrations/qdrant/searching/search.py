"""Search a collection: the rankings of a mode, one or several fused, and the hits of a page.

A single ranking is the engine's, page by page, if nothing else is asked for. Otherwise rankings are
asked for without payload, in one request for all queries; hits are chosen from them here
(``candidates.py``), and only the points of the page are read then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from operator import index
from typing import Self, SupportsIndex

import numpy as np

from decant.embedders import StoreError

from ..points.handle import Target
from ..points.passages import BranchScore, Hit, hit
from ..stores.filters import Where
from ..stores.input_errors import StoreInputError
from ..stores.protocol import Payload, Ranking, Select, slices
from ..stores.queries import DenseQuery, SearchMode
from .candidates import Candidate, Rankings, in_depths, units
from .fusion import by_score, fuse
from .mmr import diverse, scaled
from .options import SearchOptions
from .plans import SearchPlan

_MOST = 2**53  # engines count in 64 bits, also four times this, and JSON's readers in floats
_TOGETHER = 64  # searches whose rankings are asked for in one request


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which hits are wanted, and with what.

    Args:
        limit: How many, at most.
        offset: How many of the best to pass over.
        where: Only passages for which this holds.
        with_vectors: Whether the hits hold their dense vectors.
        options: What else is asked for.

    Raises:
        StoreError: ``limit`` is below 1 or ``offset`` below 0, or they are no numbers that an
            engine can read.
    """

    limit: int
    offset: int
    where: Where | None
    with_vectors: bool
    options: SearchOptions

    def __post_init__(self) -> None:
        for name in ("limit", "offset"):
            object.__setattr__(self, name, _whole(getattr(self, name), name))
        if self.limit < 1 or self.offset < 0:
            raise StoreError(
                f"limit must be at least 1 and offset at least 0, got limit={self.limit}, "
                f"offset={self.offset}"
            )

    @classmethod
    def of(
        cls,
        limit: int,
        offset: int,
        where: Where | None,
        options: SearchOptions | None,
        *,
        with_vectors: bool,
    ) -> Self:
        """Return the window of a search whose options may be missing."""
        return cls(
            limit=limit,
            offset=offset,
            where=where,
            with_vectors=with_vectors,
            options=options or SearchOptions(),
        )

    @property
    def end(self) -> int:
        """The place behind the last hit of the page."""
        return self.offset + self.limit


def _whole(number: SupportsIndex, name: str) -> int:
    """Return a number of points.

    Raises:
        StoreError: It is no integer, or too large for the engines.
    """
    try:
        whole = index(number)
    except TypeError:
        raise StoreError(f"{name} is a whole number, got {number!r}") from None
    if whole > _MOST:
        raise StoreError(f"{name}={whole} is more than can be asked for, which is {_MOST}")
    return whole


def run_search(target: Target, plans: Sequence[SearchPlan], window: Window) -> list[list[Hit]]:
    """Return the hits of a page for each of some searches, best first.

    Args:
        target: The collection.
        plans: Of ``plans.py``, all of one mode and one fusion.
        window: The page.

    Raises:
        StoreError: The store failed, or a threshold does not fit the mode.
    """
    plans = [_with_parameters(plan, window.options) for plan in plans]
    for plan in plans:
        _check(plan, window.options)
    if len(plans) == 1 and not plans[0].is_fused and window.options.keeps_order:
        return [_run_alone(target, plans[0], window)]
    return [
        page for part in slices(plans, _TOGETHER) for page in _run_together(target, part, window)
    ]


def _run_alone(target: Target, plan: SearchPlan, window: Window) -> list[Hit]:
    """Return the hits of a page of the engine's own ranking."""
    if not plan.queries:
        return []
    ((mode, query),) = plan.queries.items()
    scored = target.store.query(
        target.name,
        query,
        Select(dense=window.with_vectors),
        limit=window.limit,
        offset=window.offset,
        where=window.where,
    )
    least = _threshold(mode, window.options)
    scored.sort(key=lambda item: (-item.score, item.point.id))
    hits = []
    for rank, item in enumerate(scored, window.offset + 1):
        if item.score < least:
            break
        branch = BranchScore(name=mode.value, rank=rank, score=item.score)
        hits.append(hit(item.point, score=item.score, branches=(branch,)))
    return hits


def _run_together(target: Target, plans: Sequence[SearchPlan], window: Window) -> list[list[Hit]]:
    """Return pages that are chosen here, from rankings that one request brings."""
    options = window.options
    is_fused, fusion = plans[0].is_fused, plans[0].fusion
    first = fusion.depth if is_fused or not options.keeps_order else window.end
    if options.group is not None:
        first *= options.group.size
    combine = partial(fuse, fusion=fusion) if is_fused else _only
    wanted = slice(window.offset, window.end)
    if options.mmr is not None:
        wanted = slice(0, max(options.mmr.candidates, window.end))
    pages = []
    for fetch in _fetches(target, plans, window, first):
        depths = in_depths(fetch, combine, first=first)
        found = units(depths, options, partial(_payloads, target))
        pages.append([*chain.from_iterable(islice(found, wanted.start, wanted.stop))])
    hits = _read(target, pages, with_vectors=window.with_vectors or options.mmr is not None)
    if options.mmr is None:
        return hits
    return [_varied(page, plan, window) for page, plan in zip(hits, plans, strict=True)]


def _fetches(
    target: Target, plans: Sequence[SearchPlan], window: Window, first: int
) -> Iterator[Callable[[int], Rankings]]:
    """Yield for each search what returns its rankings; those of the first depth come together."""

    def rank(depth: int, asked: Sequence[SearchPlan]) -> Iterator[Ranking]:
        queries = [query for plan in asked for query in plan.queries.values()]
        if not queries:
            return iter(())
        return iter(target.store.rank(target.name, queries, limit=depth, where=window.where))

    def named(plan: SearchPlan, found: Iterator[Ranking]) -> Rankings:
        return {
            mode.value: by_score(_above(_threshold(mode, window.options), next(found)))
            for mode in plan.queries
        }

    together = rank(first, plans)
    for plan in plans:
        shallow = named(plan, together)

        def fetch(depth: int, plan: SearchPlan = plan, shallow: Rankings = shallow) -> Rankings:
            return shallow if depth == first else named(plan, rank(depth, [plan]))

        yield fetch


def _only(rankings: Rankings) -> Ranking:
    return next(iter(rankings.values()), [])


def _payloads(target: Target, ids: list[str], fields: tuple[str, ...]) -> dict[str, Payload]:
    points = target.store.retrieve(target.name, ids, Select(fields=fields))
    return {point.id: point.payload for point in points}


def _read(
    target: Target, pages: Sequence[Sequence[Candidate]], *, with_vectors: bool
) -> list[list[Hit]]:
    """Read the points of pages; those that were deleted meanwhile are left out."""
    ids = dict.fromkeys(candidate.id for page in pages for candidate in page)
    points = target.store.retrieve(target.name, [*ids], Select(dense=with_vectors)) if ids else []
    held = {point.id: point for point in points}
    return [
        [
            hit(held[one.id], score=one.score, branches=one.branches, boost=one.boost)
            for one in page
            if one.id in held
        ]
        for page in pages
    ]


def _varied(hits: list[Hit], plan: SearchPlan, window: Window) -> list[Hit]:
    """Pick from the candidates of a search those of its page."""
    mmr = window.options.mmr
    assert mmr is not None
    scores = np.array([one.score for one in hits], np.float64)
    by_cosine = not plan.is_fused and SearchMode.DENSE in plan.queries
    width = next((len(one.vector) for one in hits if one.vector is not None), 1)
    blank = np.zeros(width, np.float32)  # a blank text, which words alone may find
    rows = [blank if one.vector is None else one.vector for one in hits]
    picked = diverse(
        scores if by_cosine else scaled(scores),
        np.array(rows, np.float32).reshape(len(hits), -1),
        count=window.end,
        balance=mmr.balance,
    )
    chosen = [hits[row] for row in picked[window.offset :]]
    return chosen if window.with_vectors else [replace(one, vector=None) for one in chosen]


def _with_parameters(plan: SearchPlan, options: SearchOptions) -> SearchPlan:
    """Give the dense query of a plan the search parameters of the options."""
    dense = plan.queries.get(SearchMode.DENSE)
    if not isinstance(dense, np.ndarray) or (options.ef is None and not options.exact):
        return plan
    query = DenseQuery(vector=dense, ef=options.ef, exact=options.exact)
    return replace(plan, queries={**plan.queries, SearchMode.DENSE: query})


def _check(plan: SearchPlan, options: SearchOptions) -> None:
    threshold = options.score_threshold
    names = [mode.value for mode in plan.queries]
    if isinstance(threshold, Mapping):
        if unknown := sorted({*threshold} - {mode.value for mode in SearchMode}):
            raise StoreInputError(
                f"there is no ranking {', '.join(unknown)}; this search has {names}"
            )
    elif threshold is not None and plan.is_fused:
        raise StoreInputError(
            "a fused score shows the order within one search and nothing else, so no threshold on "
            f"it means anything; give one by ranking, such as {{'dense': {threshold}}}, of "
            f"{', '.join(names)}"
        )


def _threshold(mode: SearchMode, options: SearchOptions) -> float:
    """Return the least score of a hit in a ranking."""
    given = options.score_threshold
    least = given.get(mode.value) if isinstance(given, Mapping) else given
    return -math.inf if least is None else least


def _above(least: float, ranking: Ranking) -> Ranking:
    return ranking if least == -math.inf else [hit for hit in ranking if hit[1] >= least]
