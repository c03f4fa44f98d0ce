"""The searches of LangChain's vector store as coroutines, which wait for servers in the event loop.

Each does what the method without the "a" does, by the collection's coroutine. Without these,
LangChain would run them in threads; adding and deleting stay there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore

from ..arguments import check_ids
from ..qdrant import MMR, Collection, Fusion, SearchMode, run_in_thread
from .conversion import to_document
from .filters import Filter, to_condition
from .relevance import RelevanceSearch
from .retriever_arguments import search_options


class AsyncSearches(VectorStore):
    """The part of :class:`DecantVectorStore` that searches without blocking the event loop."""

    _collection: Collection

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents of these ids that exist, in the order of the ids."""
        check_ids(ids, "aget_by_ids()")
        return [to_document(hit) for hit in await self._collection.aget(ids)]

    async def asimilarity_search(
        self,
        query: str,
        k: int = 4,
        **kwargs: Any,  # noqa: ANN401 - passed on
    ) -> list[Document]:
        """Return the ``k`` documents that fit best, best first; see ``similarity_search``."""
        found = await self.asimilarity_search_with_score(query, k, **kwargs)
        return [document for document, _ in found]

    async def asimilarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Filter | None = None,  # noqa: A002
        offset: int = 0,
        mode: SearchMode | None = None,
        fusion: Fusion | None = None,
        **kwargs: object,
    ) -> list[tuple[Document, float]]:
        """Return the documents of :meth:`asimilarity_search`, each with its score in the mode."""
        hits = await self._collection.asearch(
            query,
            limit=k,
            offset=offset,
            where=to_condition(filter),
            mode=mode,
            fusion=fusion,
            options=search_options(kwargs),
        )
        return [(to_document(hit), hit.score) for hit in hits]

    async def _asimilarity_search_with_relevance_scores(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Filter | None = None,  # noqa: A002
        offset: int = 0,
        mode: SearchMode | None = None,
        fusion: Fusion | None = None,
        **kwargs: object,
    ) -> list[tuple[Document, float]]:
        """Return the documents of :meth:`asimilarity_search`, each with its relevance."""
        options, where = search_options(kwargs), to_condition(filter)
        relevance = await run_in_thread(RelevanceSearch, self._collection, query, mode)
        hits = await relevance.asearch(
            limit=k, offset=offset, where=where, mode=mode, fusion=fusion, options=options
        )
        # A thread, because the cosines may have to be asked for.
        return await run_in_thread(relevance.judge, hits)

    async def asimilarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        *,
        filter: Filter | None = None,  # noqa: A002
        offset: int = 0,
        **kwargs: object,
    ) -> list[Document]:
        """Return the ``k`` documents nearest to a dense vector."""
        hits = await self._collection.asearch_vector(
            np.asarray(embedding, np.float32),
            limit=k,
            offset=offset,
            where=to_condition(filter),
            options=search_options(kwargs),
        )
        return [to_document(hit) for hit in hits]

    async def amax_marginal_relevance_search(  # noqa: PLR0913 - LangChain's, and how to rank
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,  # noqa: A002
        mode: SearchMode | None = None,
        fusion: Fusion | None = None,
        **kwargs: object,
    ) -> list[Document]:
        """Return ``k`` documents that fit the query and differ from each other (:class:`MMR`)."""
        hits = await self._collection.asearch(
            query,
            limit=k,
            where=to_condition(filter),
            mode=mode,
            fusion=fusion,
            options=search_options(kwargs, mmr=_mmr(k, fetch_k, lambda_mult)),
        )
        return [to_document(hit) for hit in hits]

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filter | None = None,  # noqa: A002
        **kwargs: object,
    ) -> list[Document]:
        """Return ``k`` documents that are near a vector and differ from each other."""
        hits = await self._collection.asearch_vector(
            np.asarray(embedding, np.float32),
            limit=k,
            where=to_condition(filter),
            options=search_options(kwargs, mmr=_mmr(k, fetch_k, lambda_mult)),
        )
        return [to_document(hit) for hit in hits]


def _mmr(k: int, fetch_k: int, lambda_mult: float) -> MMR:
    return MMR(balance=lambda_mult, candidates=max(k, fetch_k))
