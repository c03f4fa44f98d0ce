"""Search as operators see it: one span and one log event for each call, with counts alone.

The span holds the encoding of the queries and the requests to the store.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from decant.embedders.log_events import log_event
from decant.embedders.span_protocol import Fact, prefixed

from ..coroutines.reads import Reads, Source
from ..operations.store_span import store_span
from ..points.handle import Target
from ..points.passages import Hit
from ..stores.queries import SearchMode
from .plans import SearchPlan
from .rerank import Scoring, run_reranked
from .search import Window, run_search


async def traced_search(
    target: Target,
    reads: Reads,
    plan: Callable[[], Awaitable[Sequence[SearchPlan]]],
    window: Window,
    score: Scoring,
) -> list[list[Hit]]:
    """Return the hits of a page for each of some searches; see :func:`run_search`.

    Args:
        target: The collection.
        reads: What reads its store.
        plan: Returns the plans; it may embed the queries.
        window: The page.
        score: Runs a reranker where it may block.

    Raises:
        StoreError: As :func:`run_search`.
    """
    started = time.perf_counter()
    with store_span(target.store, target.name, "search") as span:
        plans = await plan()
        facts = _asked(plans, window)
        span.set(prefixed(facts))
        source = Source(reads, target.name)
        if window.options.rerank is None:
            pages = await run_search(source, plans, window)
        else:
            pages = await run_reranked(source, plans, window, score)
        hits = sum(map(len, pages))
        span.set({"decant.hits": hits})
    took = round(1_000 * (time.perf_counter() - started), 3)
    seen: dict[str, Fact] = {"collection": target.name, **facts, "hits": hits, "milliseconds": took}
    log_event("search", seen, level=logging.DEBUG)
    return pages


def _asked(plans: Sequence[SearchPlan], window: Window) -> dict[str, Fact]:
    """Return what is asked for; the rankings of all plans are the same."""
    branches = [mode.value for mode in plans[0].modes] if plans else []
    return {
        "mode": SearchMode.HYBRID.value if len(branches) > 1 else "".join(branches),
        "branches": " ".join(branches),
        "queries": len(plans),
        "limit": window.limit,
        "offset": window.offset,
        "filtered": window.where is not None,
        "reranked": window.options.rerank is not None,
    }
