"""Run a query of LlamaIndex in a collection: which search it is, and to which depths.

A query is embedded at most once here: not at all for words, nor where it brings its dense vector
and the mode compares no sparse one. The functions are coroutines: what they call either returns at
once, or waits in the event loop (:class:`SearchCalls`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Self

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from decant.embedders import Vectors

from ..qdrant import MMR, Collection, Fusion, Hit, SearchMode, SearchOptions, run_in_thread
from ..qdrant.coroutines.run_now import immediate
from ..qdrant.searching.candidates import Rankings
from ..qdrant.searching.fusion import fuse
from .queries import (
    branch_depths,
    compares_dense_alone,
    node_count,
    query_fusion,
    query_text,
    query_vectors,
    stored_fusion,
)

if TYPE_CHECKING:
    from ..qdrant.stores.filters import Where

_CANDIDATES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchCalls:
    """The methods of a collection that a query calls.

    Args:
        search: :meth:`Collection.search`, or its coroutine.
        search_vector: :meth:`Collection.search_vector`, or its coroutine.
        embed: Embeds a query as :func:`query_vectors` does.
    """

    search: Callable[..., Awaitable[list[Hit]]]
    search_vector: Callable[..., Awaitable[list[Hit]]]
    embed: Callable[[VectorStoreQuery, Collection, SearchMode | None], Awaitable[Vectors]]

    @classmethod
    def blocking(cls, collection: Collection) -> Self:
        """Return those that return at once."""
        return cls(
            search=immediate(collection.search),
            search_vector=immediate(collection.search_vector),
            embed=immediate(query_vectors),
        )

    @classmethod
    def in_loop(cls, collection: Collection) -> Self:
        """Return those that wait in the event loop, or let a thread wait."""

        async def embed(
            query: VectorStoreQuery, collection: Collection, mode: SearchMode | None
        ) -> Vectors:
            return await run_in_thread(query_vectors, query, collection, mode)

        return cls(
            search=collection.asearch,
            search_vector=collection.asearch_vector,
            embed=embed,
        )


async def find_hits(
    query: VectorStoreQuery,
    collection: Collection,
    calls: SearchCalls,
    *,
    where: Where | None,
    mode: SearchMode | None,
    options: SearchOptions,
) -> list[Hit]:
    """Return the hits of a query, best first.

    Args:
        query: Its modes are those of :func:`query_mode`.
        collection: Where to search.
        calls: Its methods.
        where: The whole condition, the query's own filters among it.
        mode: Of :func:`query_mode`.
        options: What the search asks for beside its page.

    Raises:
        ValueError: The query lacks what the mode compares, or asks for depths of its own together
            with options that choose among the hits.
        StoreError: The collection lacks what the mode compares.
    """
    count = node_count(query)
    if compares_dense_alone(query):
        # Not a fusion with weights of 0: those hits that only words find would follow the first
        # Fusion.depth dense ones, and come before the next.
        most = min(count, query.similarity_top_k) if query.sparse_top_k else count
        vectors = await calls.embed(query, collection, SearchMode.DENSE)
        return await calls.search_vector(
            vectors,
            text=query.query_str,
            limit=most,
            where=where,
            mode=SearchMode.DENSE,
            options=options,
        )
    if mode is SearchMode.WORDS:
        text = query_text(query, mode)
        return await calls.search(text, limit=count, where=where, mode=mode, options=options)
    search = await _search_of(query, collection, calls, mode)
    fusion = query_fusion(query, collection)
    if depths := branch_depths(query, collection):
        if options != SearchOptions():
            raise ValueError(
                "sparse_top_k sets the depth of each ranking of a hybrid query, and options choose "
                "among hits to a depth of their own; give one of them"
            )
        found = {
            one: await search(limit=depth, where=where, mode=one) for one, depth in depths.items()
        }
        return _fused(found, depths, fusion or stored_fusion(collection))[:count]
    return await search(limit=count, where=where, mode=mode, fusion=fusion, options=options)


def with_variety(
    query: VectorStoreQuery,
    options: SearchOptions,
    *,
    threshold: float | None,
    candidates: int | None,
) -> SearchOptions:
    """Return the options of a query, with maximal marginal relevance if that is its mode.

    Args:
        query: Its own ``mmr_threshold`` goes first.
        options: Those that were given.
        threshold: 1 is relevance alone, 0 is variety alone; None is 0.5.
        candidates: How many of the nearest to choose from; None is four times as many as wanted, at
            least 20.
    """
    if query.mode is not VectorStoreQueryMode.MMR:
        return options
    balance = threshold if query.mmr_threshold is None else query.mmr_threshold
    count = query.similarity_top_k
    mmr = MMR(
        balance=0.5 if balance is None else balance,
        candidates=max(candidates or max(_CANDIDATES, 4 * count), count),
    )
    return replace(options, mmr=mmr)


async def _search_of(
    query: VectorStoreQuery, collection: Collection, calls: SearchCalls, mode: SearchMode | None
) -> Callable[..., Awaitable[list[Hit]]]:
    """Return the search of a query, which takes the arguments of :meth:`Collection.search`.

    A text goes as it is where the server has it embedded; else the query is embedded here, once.

    Raises:
        ValueError: The query lacks what the mode compares.
    """
    if collection.embeds_on_server and query.query_embedding is None:
        return partial(calls.search, query_text(query, mode or SearchMode.DENSE))
    vectors = await calls.embed(query, collection, mode)
    return partial(calls.search_vector, vectors, text=query.query_str)


def _fused(
    found: Mapping[SearchMode, list[Hit]], depths: Mapping[SearchMode, int], fusion: Fusion
) -> list[Hit]:
    """Return the hits of several rankings as one, best first."""
    held = {hit.id: hit for hits in found.values() for hit in hits}
    parts = [
        Rankings.fetched({mode: [(hit.id, hit.score) for hit in hits]}, depths[mode])
        for mode, hits in found.items()
    ]
    rankings = Rankings(
        named={name: ranking for part in parts for name, ranking in part.named.items()},
        ended=frozenset().union(*(part.ended for part in parts)),
    )
    return [
        replace(held[identity], score=score, branches=rankings.branches(identity))
        for identity, score in fuse(rankings.named, fusion, ended=rankings.ended)
    ]
