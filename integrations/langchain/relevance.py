"""The relevance of hits: ``(cosine + 1) / 2`` of dense vectors, in every mode.

Where the encoder is here, cosines are computed from the vectors of query and hits. Where the server
has texts embedded, the query's vector is never here, and the server's dense scores are the cosines.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from langchain_core.documents import Document

from decant.embedders import Output, Role, Vectors

from ..qdrant import Collection, Field, FieldIn, Hit, SearchMode
from .conversion import to_document, with_relevance


class RelevanceSearch:
    """A search by text whose hits get their relevance.

    Args:
        collection: Where to search.
        query: The text.
        mode: The mode of the search.
    """

    def __init__(self, collection: Collection, query: str, mode: SearchMode | None) -> None:
        self._collection = collection
        self._query = query
        self._vectors: Vectors | None = None
        if not collection.embeds_on_server:
            is_sparse = mode not in {SearchMode.DENSE, SearchMode.WORDS} and collection.has_sparse
            outputs = [Output.SPARSE] if is_sparse else []
            self._vectors = collection.encoder.encode([query], role=Role.QUERY, outputs=outputs)

    @property
    def search(self) -> Callable[..., list[Hit]]:
        """The search, which takes the arguments of :meth:`Collection.search` but the query."""
        if self._vectors is None:
            return partial(self._collection.search, self._query)
        return partial(
            self._collection.search_vector, self._vectors, text=self._query, with_vectors=True
        )

    @property
    def asearch(self) -> Callable[..., Coroutine[Any, Any, list[Hit]]]:
        """The coroutine of :attr:`search`."""
        if self._vectors is None:
            return partial(self._collection.asearch, self._query)
        return partial(
            self._collection.asearch_vector, self._vectors, text=self._query, with_vectors=True
        )

    def judge(self, hits: Sequence[Hit]) -> list[tuple[Document, float]]:
        """Return the hits of :attr:`search` as documents, each with its relevance."""
        if self._vectors is not None:
            return with_relevance(hits, self._vectors.dense[0])
        cosines = self._searched_cosines(hits)
        # A blank text has no vector, which resembles nothing.
        return [(to_document(hit), (cosines.get(hit.id, 0.0) + 1.0) / 2.0) for hit in hits]

    def _searched_cosines(self, hits: Sequence[Hit]) -> dict[str, float]:
        dense = SearchMode.DENSE
        known = {
            hit.id: branch.score for hit in hits for branch in hit.branches if branch.name == dense
        }
        if unknown := [hit.id for hit in hits if hit.id not in known]:
            where = FieldIn(Field.ID, unknown)
            found = self._collection.search(
                self._query, limit=len(unknown), where=where, mode=dense
            )
            known |= {hit.id: hit.score for hit in found}
        return known
