"""Search a collection: the rankings of a mode, one or several fused, and the hits of a page.

A single ranking is the engine's, page by page, if nothing else is asked for. Otherwise rankings are
asked for without payload, in one request for all queries; hits are chosen from them here
(``candidates.py``), and only the points of the page are read then. All of it are coroutines, which
wait for the store's answers or have them at once (``coroutines/run_now.py``).
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from operator import index
from typing import Self, SupportsIndex

import numpy as np

from decant.embedders import StoreError

from ..coroutines.reads import Source
from ..points.passages import BranchScore, Hit, hit
from ..points.payloads import is_own
from ..stores.filters import Where
from ..stores.input_errors import StoreInputError
from ..stores.protocol import Ranking, ScoredPoint, Select, slices
from ..stores.queries import DenseQuery, SearchMode
from ..stores.text_to_embed import TextToEmbed
from .candidate_payloads import CandidatePayloads
from .candidates import Candidate, Rankings, in_depths, units
from .fusion import fuse
from .late import late_thresholds, scored_anew
from .mmr import diverse, scaled
from .options import MMR, RERANK, SearchOptions
from .plans import SearchPlan

_MOST = 2**53  # engines count in 64 bits, also four times this, and JSON's readers in floats
_TOGETHER = 64  # searches whose rankings are asked for in one request
_MOST_EQUAL = 20_000  # hits of a single ranking that are looked through for the order of equal ones


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
        if not isinstance(self.options, SearchOptions):
            raise StoreInputError(f"options is a SearchOptions, got {self.options!r}")
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
            options=SearchOptions() if options is None else options,
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


async def run_search(
    source: Source, plans: Sequence[SearchPlan], window: Window
) -> list[list[Hit]]:
    """Return the hits of a page for each of some searches, best first.

    Args:
        source: The collection, and what reads it.
        plans: Of ``plans.py``, all of one mode and one fusion.
        window: The page.

    Raises:
        StoreError: The store failed, or a threshold does not fit the mode.
    """
    return [
        [found for unit in page for found in unit]
        for page in await find_units(source, plans, window)
    ]


async def find_units(
    source: Source, plans: Sequence[SearchPlan], window: Window
) -> list[list[list[Hit]]]:
    """Return what the limit counts, for each of some searches: single hits, or groups of hits.

    Raises:
        StoreError: As :func:`run_search`.
    """
    plans = [_with_parameters(plan, window.options) for plan in plans]
    for plan in plans:
        _check(plan, window.options)
    if len(plans) == 1 and not plans[0].is_fused and window.options.keeps_order:
        return [_single(await _run_alone(source, plans[0], window))]
    payloads = CandidatePayloads(source, window.options.boosts)
    pages = [
        page
        for part in slices(plans, _TOGETHER)
        for page in await _run_together(source, part, window, payloads)
    ]
    await payloads.warn_of_boosts()
    return pages


async def _run_alone(source: Source, plan: SearchPlan, window: Window) -> list[Hit]:
    """Return the hits of a page of the engine's own ranking, equal scores in the order of ids."""
    if not plan.queries:
        return []
    ((mode, query),) = plan.queries.items()
    if window.offset:
        return await _read_cut(source, plan, window)
    # One hit more shows whether the last of the page shares its score with others.
    scored = await source.reads.query(
        source.name,
        query,
        Select(dense=window.with_vectors),
        limit=window.limit + 1,
        where=window.where,
    )
    if _is_cut_among_equals([item.score for item in scored], window.limit):
        return await _read_cut(source, plan, window)
    least = _thresholds(plan, window.options).get(mode.value, -math.inf)
    scored.sort(key=lambda item: (-item.score, item.point.id))
    hits = []
    for rank, item in enumerate(_passages(scored)[: window.limit], 1):
        if item.score < least:
            break
        branch = BranchScore(name=mode.value, rank=rank, score=item.score)
        hits.append(hit(item.point, score=item.score, branches=(branch,)))
    return hits


def _passages(scored: Sequence[ScoredPoint]) -> Sequence[ScoredPoint]:
    """Return the hits without the notes of decant, which have a vector for a moment at most.

    A process that ends in that moment leaves one (``inference/proof.py``).
    """
    return [item for item in scored if not is_own(item.point)]


async def _read_cut(source: Source, plan: SearchPlan, window: Window) -> list[Hit]:
    page = await _cut(source, plan, window)
    (hits,) = await _read(source, [page], with_vectors=window.with_vectors)
    return hits


async def _cut(source: Source, plan: SearchPlan, window: Window) -> list[Candidate]:
    """Return the page of a single ranking whose equal scores are in the order of ids."""
    ((mode, query),) = plan.queries.items()
    depth = window.end + 1
    while True:
        (found,) = await source.reads.rank(source.name, [query], limit=depth, where=window.where)
        scores = [score for _, score in found]
        if len(found) < depth or scores[window.end - 1] > scores[-1] or depth > _MOST_EQUAL:
            break
        depth *= 2
    rankings = Rankings.fetched({mode: found}, depth).above(_thresholds(plan, window.options))
    page = rankings.named[mode.value][window.offset : window.end]
    return [Candidate(identity, score, 0.0, rankings) for identity, score in page]


def _is_cut_among_equals(scores: Sequence[float], end: int) -> bool:
    return len(scores) > end and scores[end - 1] == scores[end]


async def _run_together(
    source: Source, plans: Sequence[SearchPlan], window: Window, payloads: CandidatePayloads
) -> list[list[list[Hit]]]:
    """Return pages of units that are chosen here, from rankings that one request brings."""
    options = window.options
    is_fused, fusion = plans[0].is_fused, plans[0].fusion
    if not is_fused and options.keeps_order:
        return [_single(page) for page in await _run_plainly(source, plans, window)]
    first = fusion.depth if options.group is None else fusion.depth * options.group.size
    first = first if options.late is None else max(first, options.late.candidates)
    start, end = window.offset, window.end
    if (mmr := options.mmr) is not None:  # whole blocks of candidates
        start, end = _block(start, mmr), _block(end - 1, mmr) + mmr.candidates

    def combine(found: Rankings) -> Ranking:
        if is_fused:
            return fuse(found.named, fusion, ended=found.ended)
        return next(iter(found.named.values()), [])

    pages = []
    for plan, fetch in zip(plans, await _fetches(source, plans, window, first), strict=True):
        depths = in_depths(fetch, combine, first=first)
        if options.late is not None:
            depths = scored_anew(source, depths, plan.tokens, options)
        pages.append(await _between(units(depths, options, payloads.fetch), start, end))
    together = [unit for page in pages for unit in page]
    read = iter(await _read(source, together, with_vectors=window.with_vectors or mmr is not None))
    found = [[next(read) for _ in page] for page in pages]
    if mmr is None:
        return found
    return [
        _single(_varied([hit for unit in page for hit in unit], plan, window, mmr))
        for page, plan in zip(found, plans, strict=True)
    ]


def _single(hits: Sequence[Hit]) -> list[list[Hit]]:
    return [[one] for one in hits]


async def _between(
    found: AsyncGenerator[list[Candidate], None], start: int, end: int
) -> list[list[Candidate]]:
    """Return the units from one place to another; none behind them is asked for."""
    kept: list[list[Candidate]] = []
    place = 0
    async with aclosing(found):
        async for unit in found:
            if place >= start:
                kept.append(unit)
            place += 1
            if place >= end:
                break
    return kept


async def _run_plainly(
    source: Source, plans: Sequence[SearchPlan], window: Window
) -> list[list[Hit]]:
    """Return the pages of single rankings; those that end among equal scores are asked for anew."""
    first = window.end + 1
    fetches = await _fetches(source, plans, window, first)
    pages = []
    for plan, fetch in zip(plans, fetches, strict=True):
        rankings = await fetch(first)
        ((_, ranking),) = rankings.named.items() or ((None, []),)
        if _is_cut_among_equals([score for _, score in ranking], window.end):
            pages.append(await _cut(source, plan, window))
        else:
            page = ranking[window.offset : window.end]
            pages.append([Candidate(identity, score, 0.0, rankings) for identity, score in page])
    return await _read(source, pages, with_vectors=window.with_vectors)


async def _fetches(
    source: Source, plans: Sequence[SearchPlan], window: Window, first: int
) -> list[Callable[[int], Awaitable[Rankings]]]:
    """Return for each search what reads its rankings; those of the first depth come together."""

    async def rank(depth: int, asked: Sequence[SearchPlan]) -> Iterator[Ranking]:
        queries = [query for plan in asked for query in plan.queries.values()]
        if not queries:
            return iter(())
        found = await source.reads.rank(source.name, queries, limit=depth, where=window.where)
        return iter(found)

    def named(plan: SearchPlan, found: Iterator[Ranking], depth: int) -> Rankings:
        held = {mode: next(found) for mode in plan.queries}
        return Rankings.fetched(held, depth).above(_thresholds(plan, window.options))

    async def fetch(plan: SearchPlan, shallow: Rankings, depth: int) -> Rankings:
        return shallow if depth == first else named(plan, await rank(depth, [plan]), depth)

    together = await rank(first, plans)
    return [partial(fetch, plan, named(plan, together, first)) for plan in plans]


async def _read(
    source: Source, pages: Sequence[Sequence[Candidate]], *, with_vectors: bool
) -> list[list[Hit]]:
    """Read the points of pages; those that were deleted meanwhile are left out."""
    ids = dict.fromkeys(candidate.id for page in pages for candidate in page)
    fetch = Select(dense=with_vectors)
    points = await source.reads.retrieve(source.name, [*ids], fetch) if ids else []
    held = {point.id: point for point in points if not is_own(point)}
    return [
        [
            hit(held[one.id], score=one.score, branches=one.branches, boost=one.boost)
            for one in page
            if one.id in held
        ]
        for page in pages
    ]


def _varied(hits: list[Hit], plan: SearchPlan, window: Window, mmr: MMR) -> list[Hit]:
    """Return the hits of a page from the blocks of candidates that it lies in."""
    is_late = window.options.late is not None
    by_cosine = not plan.is_fused and not is_late and SearchMode.DENSE in plan.queries
    chosen: list[Hit] = []
    for block in slices(hits, mmr.candidates):
        scores = np.array([one.score for one in block], np.float64)
        relevance = scores if by_cosine else scaled(scores)
        width = next((len(one.vector) for one in block if one.vector is not None), 1)
        blank = np.zeros(width, np.float32)  # a blank text, which words alone may find
        rows = np.array([blank if one.vector is None else one.vector for one in block], np.float32)
        picked = diverse(relevance, rows, count=len(block), balance=mmr.balance)
        chosen += [block[row] for row in picked]
    start = window.offset - _block(window.offset, mmr)
    page = chosen[start : start + window.limit]
    return page if window.with_vectors else [replace(one, vector=None) for one in page]


def _block(place: int, mmr: MMR) -> int:
    """Return the first place of the block of candidates in which this place is."""
    return place - place % mmr.candidates


def _with_parameters(plan: SearchPlan, options: SearchOptions) -> SearchPlan:
    """Give the dense query of a plan the search parameters of the options."""
    dense = plan.queries.get(SearchMode.DENSE)
    if not isinstance(dense, np.ndarray | TextToEmbed) or (
        options.ef is None and not options.exact
    ):
        return plan
    query = DenseQuery(vector=dense, ef=options.ef, exact=options.exact)
    return replace(plan, queries={**plan.queries, SearchMode.DENSE: query})


def _check(plan: SearchPlan, options: SearchOptions) -> None:
    threshold = options.score_threshold
    names = [mode.value for mode in plan.modes]
    bounds = threshold if isinstance(threshold, Mapping) else {}
    asked = {*plan.fusion.weights, *bounds} - {*late_thresholds(options)}
    if unknown := sorted(asked - {*names}):
        if unknown == [RERANK]:
            raise StoreInputError(
                f"a threshold names the ranking {RERANK!r}, and this search has no reranker; give "
                "rerank=, or leave the threshold out"
            )
        raise StoreInputError(
            f"a weight or a threshold names the ranking {unknown[0]!r}, and this search has "
            f"{', '.join(names)}; leave it out, or search in a mode that has it"
        )
    if threshold is not None and not isinstance(threshold, Mapping) and plan.is_fused:
        raise StoreInputError(
            "a fused score shows the order within one search and nothing else, so no threshold on "
            f"it means anything; give one by ranking, such as {{'dense': {threshold}}}, of "
            f"{', '.join(names)}"
        )


def _thresholds(plan: SearchPlan, options: SearchOptions) -> dict[str, float]:
    """Return the least scores of hits, by ranking."""
    given = options.score_threshold
    if given is None:
        return {}
    return dict(given) if isinstance(given, Mapping) else {mode.value: given for mode in plan.modes}
