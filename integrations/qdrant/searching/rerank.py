"""Order the best hits of a search anew, by the scores of a reranker on their texts.

A layer above ``search.py``: the places of a search fall into blocks of ``candidates``, a page asks
for the blocks that it lies in, and each is ordered by its scores. Invariant: the order of a search
depends on its candidates, never on its page, so that pages cut from it make up one long page.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from decant.embedders import StoreError, best_first
from decant.embedders.span_protocol import prefixed
from decant.embedders.telemetry import span

from ..coroutines.reads import Source
from ..points.passages import BranchScore, Hit
from ..stores.input_errors import StoreInputError
from ..stores.protocol import slices
from .options import RERANK, Rerank, SearchOptions
from .plans import SearchPlan
from .search import Window, find_units

Scores: TypeAlias = NDArray[np.float32]
Scoring: TypeAlias = Callable[[Callable[[], Scores]], Awaitable[Scores]]
"""Runs a call of a reranker, here or in a thread."""
Units: TypeAlias = list[list[Hit]]

_MOST = 2**53  # places that a search can count


async def score_here(call: Callable[[], Scores]) -> Scores:
    """Run a call of a reranker at once, for programs without an event loop."""
    return call()


async def run_reranked(
    source: Source, plans: Sequence[SearchPlan], window: Window, score: Scoring
) -> list[list[Hit]]:
    """Return the hits of a page for each of some searches, in the order of a reranker.

    Args:
        source: The collection, and what reads it.
        plans: As :func:`run_search` takes them, each with the text of its query.
        window: The page; its options have a reranker.
        score: Runs the reranker.

    Raises:
        StoreError: As :func:`run_search`; or a query or a hit has no text, or the reranker gave
            something else than one finite number for each passage.
        DecantError: What the reranker raised.
    """
    rerank = window.options.rerank
    assert rerank is not None
    for plan in plans:
        if plan.text is None:
            raise StoreInputError(
                "a reranker reads the query's text, and a vector alone was given; give text=, too, "
                "or search by text"
            )
    options, least = _without(window.options)
    start = window.offset - window.offset % rerank.candidates
    end = min(_MOST, _end_of_block(window.end - 1, rerank))
    if least > -math.inf:  # places are counted among those that pass, from the first block alone
        start, end = 0, rerank.candidates
    inner = replace(window, offset=start, limit=end - start, options=options)
    pages = await find_units(source, plans, inner)
    scores = await _score(plans, pages, rerank, score)
    found: list[list[Hit]] = []
    place = 0
    for page in pages:
        count = sum(map(len, page))
        ordered = _ordered(page, scores[place : place + count], rerank, start)
        place += count
        kept = [unit for unit in (_above(unit, least) for unit in ordered) if unit]
        shown = kept[window.offset - start : window.end - start]
        found.append([one for unit in shown for one in unit])
    return found


def _without(options: SearchOptions) -> tuple[SearchOptions, float]:
    """Return the options without the reranker, and the least score that it may give."""
    threshold = options.score_threshold
    least = -math.inf
    if isinstance(threshold, Mapping) and RERANK in threshold:
        least = threshold[RERANK]
        threshold = {name: bound for name, bound in threshold.items() if name != RERANK}
    return replace(options, rerank=None, score_threshold=threshold or None), least


def _end_of_block(place: int, rerank: Rerank) -> int:
    return place - place % rerank.candidates + rerank.candidates


async def _score(
    plans: Sequence[SearchPlan], pages: Sequence[Units], rerank: Rerank, score: Scoring
) -> Scores:
    """Return the scores of all hits of all pages, one behind the other, from one call."""
    pairs = [
        (plan.text or "", _text_of(one))
        for plan, page in zip(plans, pages, strict=True)
        for unit in page
        for one in unit
    ]
    if not pairs:
        return np.zeros(0, np.float32)
    reranker, instruction = rerank.reranker, rerank.instruction
    facts: dict[str, str | bool | int | float] = {
        "model": reranker.recipe.base,
        "queries": len(plans),
        "passages": len(pairs),
        "candidates": rerank.candidates,
    }

    def call() -> Scores:
        with span("decant.rerank") as begun:
            begun.set(prefixed(facts))
            if len(plans) == 1:
                texts = [text for _, text in pairs]
                return reranker.score(pairs[0][0], texts, instruction=instruction)
            return reranker.score_pairs(pairs, instruction=instruction)

    found = np.asarray(await score(call))
    if found.shape != (len(pairs),) or not np.isfinite(found).all():
        raise StoreError(
            f"the reranker {reranker.recipe.base!r} gives one finite number for each of "
            f"{len(pairs)} passages; it gave an array of shape {found.shape}"
            + ("" if np.isfinite(found).all() else " with NaN or infinity in it")
        )
    return found


def _text_of(one: Hit) -> str:
    """Return what a reranker reads of a hit.

    Raises:
        StoreError: It has no text.
    """
    if not one.text:
        raise StoreError(
            f"the hit {one.id!r} has no text for the reranker to read; delete it, or leave it out "
            "with a filter"
        )
    return one.text


def _ordered(page: Units, scores: Scores, rerank: Rerank, start: int) -> Units:
    """Return units in the order of their best scores, block by block, and their hits by score."""
    found: Units = []
    place = 0
    for number, block in enumerate(slices(page, rerank.candidates)):
        sizes = [len(unit) for unit in block]
        of_block = scores[place : place + sum(sizes)]
        place += sum(sizes)
        ranks = np.empty(len(of_block), np.int64)
        ranks[best_first(of_block)] = np.arange(1, len(of_block) + 1)
        first = start + number * rerank.candidates
        hits = [one for unit in block for one in unit]
        marked = iter(
            _marked(one, score=float(value), rank=first + int(rank))
            for one, value, rank in zip(hits, of_block, ranks, strict=True)
        )
        # By rank, because equal scores keep their order.
        made = [sorted((next(marked) for _ in range(size)), key=_rank) for size in sizes]
        found += sorted((unit for unit in made if unit), key=lambda unit: _rank(unit[0]))
    return found


def _marked(one: Hit, *, score: float, rank: int) -> Hit:
    branch = BranchScore(name=RERANK, rank=rank, score=score)
    return replace(one, score=score, branches=(*one.branches, branch))


def _rank(one: Hit) -> int:
    return one.branches[-1].rank


def _above(unit: list[Hit], least: float) -> list[Hit]:
    return [one for one in unit if one.score >= least]
