"""LangChain's vector store over a collection; every method is one call of the collection.

Signatures are LangChain's, hence ``filter`` and ``**kwargs``; unknown arguments are refused. The
asynchronous searches are in ``async_searches.py``; those that add and delete are LangChain's own,
which run in a thread. Splitting texts and indexing only what changed are in
:meth:`Collection.index`; a collection filled by that is searched here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStoreRetriever

from ..arguments import check_ids, refuse_unknown
from ..qdrant import MMR, And, Collection, Field, FieldIn, Fusion, SearchMode, Store, connect
from .async_searches import AsyncSearches
from .conversion import to_collection, to_document, to_records
from .embeddings import DecantEmbeddings
from .filters import Filter, to_condition
from .open_once import OpenOnce
from .relevance import RelevanceSearch
from .retriever_arguments import retriever_arguments, search_options


class DecantVectorStore(OpenOnce, AsyncSearches):
    """A collection as LangChain's vector store.

    Texts and queries are embedded by the collection's own encoder, each with its prompt. A blank
    text, which is white space and what the tokenizer drops, is stored without a vector: it is found
    by id, deleted by id and filter, and no search returns it.

    Without ``mode``, a collection with sparse vectors or words is searched by all that it has
    (HYBRID), and another one by dense vectors. All searches by a text rank in the same way, with
    scores or without. Searches by a vector compare dense vectors only.

    All searches also take the fields of :class:`SearchOptions` by their names, such as
    ``group=Group()``, ``boosts=[...]``, ``distinct=True`` or ``exact=True``; and ``rerank=`` with
    ``candidates=`` as :meth:`Collection.search` does, except where there is no text of the query.

    A filter is a condition, a ``models.Filter``, or a mapping of metadata entries, all of which
    have to hold for what documents show: ``{"source": "a.md", "year": {"$gte": 2020}}``, with
    LangChain's operators. A key with dots is an entry of that name or leads into nested ones. A
    chunk of :meth:`Collection.index` shows its place in the document as ``start_index``.

    A copy, deep or not, is the store itself, because its collection is open once; it cannot be
    pickled.

    Args:
        collection: Any collection, also one that was filled by :meth:`Collection.index`.
        tenant: Whose passages these are, in a collection with tenants (:meth:`Collection.tenant`).

    Raises:
        TypeError: ``collection`` is something else.
        TenantError: The collection has tenants and none is given, or the other way round.

    >>> import tempfile
    >>> from decant.embedders import HashEncoder
    >>> from decant.integrations.qdrant import Collection, connect
    >>> with tempfile.TemporaryDirectory() as folder, connect(folder) as store:
    ...     trees = DecantVectorStore(Collection.create(store, "trees", HashEncoder()))
    ...     _ = trees.add_texts(["oaks grow slowly", "birches grow fast"], ids=["oak", "birch"])
    ...     trees.similarity_search("what grows fast", k=1)[0].id
    'birch'
    """

    def __init__(self, collection: Collection, *, tenant: str | None = None) -> None:
        if not isinstance(collection, Collection):
            raise TypeError(
                f"DecantVectorStore takes a Collection, got {type(collection).__name__}; make one "
                "with Collection.open(connect('./index'), 'docs', encoder)"
            )
        self._collection = collection.for_tenant(tenant)

    @property
    def collection(self) -> Collection:
        """The collection of this store."""
        return self._collection

    @property
    def embeddings(self) -> DecantEmbeddings:
        """The collection's encoder, as LangChain embeddings."""
        return DecantEmbeddings(encoder=self._collection.encoder)

    def __repr__(self) -> str:
        """Return the class and the collection."""
        return f"DecantVectorStore({self._collection!r})"

    @classmethod
    def from_texts(  # noqa: PLR0913 - LangChain's, and where to add
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        collection: Collection | str = "langchain",
        store: Store | str | Path | None = None,
        tenant: str | None = None,
        **kwargs: object,
    ) -> Self:
        """Add texts to a collection, which is created if it does not exist.

        Args:
            texts: The texts.
            embedding: A :class:`DecantEmbeddings`; its encoder fills the collection.
            metadatas: One for each text, or None for a text without.
            ids: One for each text; for None, one is drawn.
            collection: A collection, or the name of one in ``store``.
            store: A store, or a folder or URL, which is opened; close it with
                ``.collection.store.close()``.
            tenant: Whose texts they are, in a collection with tenants.
            **kwargs: Refused.

        Raises:
            TypeError: ``embedding`` is of another class, or ``store`` is missing.
            CollectionMismatch: The collection belongs to another recipe.
        """
        refuse_unknown(kwargs, "from_texts")
        if not isinstance(embedding, DecantEmbeddings):
            raise TypeError(
                f"a collection is tied to the recipe that fills it, which "
                f"{type(embedding).__name__} does not have; pass DecantEmbeddings(encoder=...)"
            )
        records = to_records(texts, metadatas, ids)
        with ExitStack() as undo:  # on an error, close the store that was opened here
            if isinstance(store, str | Path):
                store = undo.enter_context(connect(store))
            made = cls(to_collection(collection, store, embedding.encoder), tenant=tenant)
            made.collection.add(records)
            undo.pop_all()
        return made

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[Mapping[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,  # noqa: ARG002
        **kwargs: object,
    ) -> list[str]:
        """Embed and store texts, replacing those of the same id.

        Args:
            texts: Any iterable of texts.
            metadatas: One for each text, or None for a text without; a ``source`` in it is also
                the record's source. Dates and the like become JSON as in a :class:`Record`.
            ids: One for each text, any string; for None, one is drawn.
            batch_size: Has no effect; LangChain's ``index`` passes it.
            **kwargs: Refused.

        Returns:
            The ids, in the order of the texts.

        Raises:
            TypeError: ``texts`` or ``ids`` is one string, or metadata are no mapping.
            ValueError: There are not as many metadatas or ids as texts.
            TextError: A text is not valid Unicode; the message holds its index and source.
            StoreError: Metadata are not JSON; the message holds the same, and the key.
        """
        refuse_unknown(kwargs, "add_texts")
        return self._collection.add(to_records(texts, metadatas, ids))

    def delete(
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Filter | None = None,  # noqa: A002
        **kwargs: object,
    ) -> bool:
        """Delete texts by id, by filter, or by both together; unknown ids are ignored.

        Raises:
            TypeError: ``ids`` is one string.
            ValueError: Neither is given, or only an empty filter, which never means everything.
        """
        refuse_unknown(kwargs, "delete")
        check_ids(ids, "delete()")
        where = to_condition(filter)
        if where is not None and ids is not None:
            if ids:
                self._collection.delete_where(And([FieldIn(Field.ID, list(ids)), where]))
        elif where is not None:
            self._collection.delete_where(where)
        elif ids is not None:
            self._collection.delete(ids)
        else:
            raise ValueError(
                f"delete() got neither ids nor a filter that states something (filter={filter!r}), "
                "which does not mean everything; to empty the collection call collection.clear()"
            )
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents of these ids that exist, in the order of the ids.

        Raises:
            TypeError: ``ids`` is one string.
        """
        check_ids(ids, "get_by_ids()")
        return [to_document(hit) for hit in self._collection.get(ids)]

    def as_retriever(self, **kwargs: object) -> VectorStoreRetriever:
        """Return a retriever over this store.

        LangChain's ``VectorStoreRetriever(vectorstore=...)`` drops unknown arguments silently; this
        method refuses them.

        Args:
            **kwargs: The retriever's own, such as ``search_type`` and ``tags``, and those of its
                searches, here or in ``search_kwargs``. A ``score_threshold`` is one of relevance,
                ``(cosine + 1) / 2``, for the type ``similarity_score_threshold`` in every mode, and
                else one of the mode's own scores.

        Raises:
            TypeError: An argument is unknown, or appears in both places.
            ValueError: LangChain does not know the ``search_type``.
        """
        return super().as_retriever(**retriever_arguments(kwargs))

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Filter | None = None,  # noqa: A002
        offset: int = 0,
        mode: SearchMode | None = None,
        fusion: Fusion | None = None,
        **kwargs: object,
    ) -> list[Document]:
        """Return the ``k`` documents that fit best, best first.

        Args:
            query: The question; it is embedded as a query.
            k: How many.
            filter: A condition, a ``models.Filter``, or metadata entries that must be equal.
            offset: How many of the best to skip.
            mode: By which ranking; None is HYBRID if the collection has sparse vectors or indexes
                words, and else DENSE, as in :meth:`Collection.search`.
            fusion: How HYBRID makes one ranking of several.
            **kwargs: The fields of :class:`SearchOptions`. A ``score_threshold`` is a cosine for
                DENSE; fused scores of HYBRID have none, only their rankings do.

        Raises:
            TypeError: A keyword is unknown.
            TextError: The query is empty.
            StoreError: The collection lacks what the mode compares, or an option is impossible.
        """
        found = self.similarity_search_with_score(
            query, k, filter=filter, offset=offset, mode=mode, fusion=fusion, **kwargs
        )
        return [document for document, _ in found]

    def similarity_search_with_score(
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
        """Return the documents of :meth:`similarity_search`, each with its score in the mode.

        That is a cosine for DENSE, an inner product for SPARSE, BM25 for WORDS, and a fused score
        for HYBRID (:class:`Fusion`).
        """
        hits = self._collection.search(
            query,
            limit=k,
            offset=offset,
            where=to_condition(filter),
            mode=mode,
            fusion=fusion,
            options=search_options(kwargs),
        )
        return [(to_document(hit), hit.score) for hit in hits]

    def _similarity_search_with_relevance_scores(
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
        """Return the documents of :meth:`similarity_search`, each with its relevance.

        The relevance is ``(cosine + 1) / 2`` of the dense vectors in every mode, because a
        threshold on it must mean the same for every query, which fused scores do not. The order is
        that of the mode.
        """
        relevance = RelevanceSearch(self._collection, query, mode)
        hits = relevance.search(
            limit=k,
            offset=offset,
            where=to_condition(filter),
            mode=mode,
            fusion=fusion,
            options=search_options(kwargs),
        )
        return relevance.judge(hits)

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        *,
        filter: Filter | None = None,  # noqa: A002
        offset: int = 0,
        **kwargs: object,
    ) -> list[Document]:
        """Return the ``k`` documents nearest to a dense vector; there is no text for other modes.

        Raises:
            StoreError: The vector has another width than the collection's, or is not finite.
        """
        options = search_options(kwargs)
        vector, where = np.asarray(embedding, np.float32), to_condition(filter)
        hits = self._collection.search_vector(
            vector, limit=k, offset=offset, where=where, options=options
        )
        return [to_document(hit) for hit in hits]

    def max_marginal_relevance_search(  # noqa: PLR0913 - LangChain's, and how to rank
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
        """Return ``k`` documents that fit the query and differ from each other (:class:`MMR`).

        Args:
            query: The question.
            k: How many to return.
            fetch_k: How many of the best to choose from.
            lambda_mult: 1 is relevance alone, 0 is variety alone.
            filter: As in a similarity search.
            mode: As in a similarity search; variety is always of dense vectors.
            fusion: As in a similarity search.
            **kwargs: The fields of :class:`SearchOptions` but for ``mmr``.

        Raises:
            StoreError: ``lambda_mult`` is outside of 0 to 1.
        """
        options = search_options(kwargs, mmr=MMR(balance=lambda_mult, candidates=max(k, fetch_k)))
        hits = self._collection.search(
            query,
            limit=k,
            where=to_condition(filter),
            mode=mode,
            fusion=fusion,
            options=options,
        )
        return [to_document(hit) for hit in hits]

    def max_marginal_relevance_search_by_vector(
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
        options = search_options(kwargs, mmr=MMR(balance=lambda_mult, candidates=max(k, fetch_k)))
        vector, where = np.asarray(embedding, np.float32), to_condition(filter)
        hits = self._collection.search_vector(vector, limit=k, where=where, options=options)
        return [to_document(hit) for hit in hits]
