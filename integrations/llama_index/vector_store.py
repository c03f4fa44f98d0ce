"""LlamaIndex's vector store over a collection.

``filters.py`` defines the keys of filters. Ids and filters given together are ANDed, everywhere.
Signatures are LlamaIndex's, hence ``**kwargs``; unknown arguments are refused. Asynchronous methods
run the others in a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from ..arguments import check_ids, refuse_unknown
from ..qdrant import And, Collection, Field, FieldIn, SearchMode, SearchOptions, run_in_thread
from ..qdrant.coroutines.run_now import run_now
from ..qdrant.inference.server_encoder import is_blank_for
from .filters import to_condition
from .nodes import to_node, to_records
from .queries import query_condition, query_mode
from .search import SearchCalls, find_hits, with_variety
from .vectors import embedded_text, node_texts, node_vectors

if TYPE_CHECKING:
    from ..qdrant.stores.filters import Where


class DecantVectorStore(BasePydanticVectorStore):
    """A collection as LlamaIndex's vector store.

    A node whose embedded text (its metadata included, as LlamaIndex embeds it) is blank (white
    space and characters that the tokenizer drops) is stored without a vector: it is found and
    deleted by id, document and filter, and no query returns it. A node without a source node, such
    as a document that was not split, is its own document.

    A copy, deep or not, shares the collection, which is open once; it cannot be pickled.

    Args:
        collection: Any collection, also one that was filled by :meth:`Collection.index`.
        tenant: Whose nodes these are, in a collection with tenants (:meth:`Collection.tenant`).

    Raises:
        TypeError: ``collection`` is no :class:`Collection`.
        TenantError: The collection has tenants and none is given, or the other way round.

    >>> import tempfile
    >>> from llama_index.core.schema import TextNode
    >>> from decant.embedders import HashEncoder
    >>> from decant.integrations.qdrant import Collection, connect
    >>> with tempfile.TemporaryDirectory() as folder, connect(folder) as store:
    ...     trees = DecantVectorStore(Collection.create(store, "trees", HashEncoder()))
    ...     trees.add([TextNode(id_="oak", text="oaks grow slowly")])
    ['oak']
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    name: str
    recipe: str
    _collection: Collection = PrivateAttr()

    def __init__(self, collection: Collection, *, tenant: str | None = None) -> None:
        if not isinstance(collection, Collection):
            raise TypeError(
                f"DecantVectorStore takes a Collection, got {type(collection).__name__}; make one "
                "with Collection.open(connect('./index'), 'docs', encoder)"
            )
        recipe = collection.encoder.recipe
        collection = collection.for_tenant(tenant)
        fields: dict[str, Any] = {"name": collection.name, "recipe": recipe.to_json()}
        # Where the server has texts embedded, an index passes the query's text on, as it is.
        is_embedding_query = not collection.embeds_on_server
        super().__init__(stores_text=True, is_embedding_query=is_embedding_query, **fields)
        self._collection = collection

    def __repr__(self) -> str:
        """Return the class and the collection; the whole recipe is in :attr:`recipe`."""
        return f"DecantVectorStore({self._collection!r})"

    __str__ = __repr__

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex serialises this class."""
        return "DecantVectorStore"

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to be pickled: a store is open in one process.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "a DecantVectorStore cannot be pickled, because its store is open in this process; "
            "open the collection where it is needed"
        )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return a copy that shares the collection."""
        return self.__copy__()

    @property
    def client(self) -> Collection:
        """The collection."""
        return self._collection

    @property
    def collection(self) -> Collection:
        """The collection of this store."""
        return self._collection

    def add(self, nodes: Sequence[BaseNode], **kwargs: object) -> list[str]:
        """Store nodes, replacing those of the same id.

        Nodes without an embedding are embedded here, with the text that they show to models. If
        that text is blank, a node is stored without a vector, even if it has an embedding.

        Returns:
            The ids, in the order of the nodes.

        Raises:
            CollectionMismatch: The embeddings are of another model than the collection's.
            StoreError: An embedding has another width than the collection's, or is not finite; or
                metadata are not JSON, and the message holds the node's index, file and key.
            TypeError: A node is of a class that could not be restored.
        """
        refuse_unknown(kwargs, "add()")
        records = dict(zip([node.node_id for node in nodes], to_records(nodes), strict=True))
        last = {
            node.node_id: node for node in nodes
        }  # of several nodes with one id the last one counts
        encoder = self._collection.encoder
        shown = {
            key: node
            for key, node in last.items()
            if not is_blank_for(encoder, embedded_text(node))
        }
        nodes_shown = list(shown.values())
        if self._collection.embeds_on_server:
            texts = node_texts(nodes_shown)
            self._collection.add([records[key] for key in shown], texts=texts)
        else:
            vectors = node_vectors(nodes_shown, encoder)
            self._collection.add([records[key] for key in shown], vectors=vectors)
        self._collection.add([record for key, record in records.items() if key not in shown])
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: object) -> list[str]:
        """Run :meth:`add` in a thread."""
        return await run_in_thread(self.add, nodes, **kwargs)

    def delete(self, ref_doc_id: str, **delete_kwargs: object) -> None:
        """Delete the nodes that came from this document, and the one that is this document.

        Raises:
            ValueError: The id is empty, or is no string.
        """
        refuse_unknown(delete_kwargs, "delete()")
        if not ref_doc_id or not isinstance(ref_doc_id, str):
            raise ValueError(f"delete() needs the id of a document, got {ref_doc_id!r}")
        self._collection.delete_source(ref_doc_id)
        # Nodes without a source node were stored without a source by earlier versions.
        earlier = [held.id for held in self._collection.get([ref_doc_id]) if not held.source]
        self._collection.delete(earlier)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: object) -> None:
        """Run :meth:`delete` in a thread."""
        await run_in_thread(self.delete, ref_doc_id, **delete_kwargs)

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: object,
    ) -> None:
        """Delete the nodes that have one of these ids and meet the filters.

        Raises:
            TypeError: ``node_ids`` is one string.
            ValueError: Neither is given, or only filters that every node meets, such as ``nin []``,
                which never mean everything.
        """
        refuse_unknown(delete_kwargs, "delete_nodes()")
        check_ids(node_ids, "delete_nodes()")
        where = to_condition(filters)
        if node_ids is None and where is None:
            raise ValueError(
                f"delete_nodes() got neither ids nor filters that leave something out ({filters!r})"
                ", which does not mean everything; to empty the collection call clear()"
            )
        if node_ids is None:
            assert where is not None
            self._collection.delete_where(where)
        elif where is None:
            self._collection.delete(node_ids)
        elif node_ids:
            self._collection.delete_where(And([FieldIn(Field.ID, node_ids), where]))

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: object,
    ) -> None:
        """Run :meth:`delete_nodes` in a thread."""
        await run_in_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return the nodes that have one of these ids and meet the filters; without either, all.

        Raises:
            TypeError: ``node_ids`` is one string.
        """
        check_ids(node_ids, "get_nodes()")
        where = to_condition(filters)
        if node_ids is None:
            return [to_node(held) for held in self._collection.each(where)]
        if where is None:
            return [to_node(held) for held in self._collection.get(node_ids)]
        if not node_ids:
            return []
        both = And([FieldIn(Field.ID, node_ids), where])
        return [to_node(held) for held in self._collection.each(both)]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Do what :meth:`get_nodes` does, without blocking the event loop."""
        if node_ids is not None and to_condition(filters) is None:
            check_ids(node_ids, "get_nodes()")
            return [to_node(held) for held in await self._collection.aget(node_ids)]
        return await run_in_thread(self.get_nodes, node_ids, filters)

    def clear(self) -> None:
        """Delete everything in the collection."""
        self._collection.clear()

    async def aclear(self) -> None:
        """Run :meth:`clear` in a thread."""
        await run_in_thread(self.clear)

    def query(
        self,
        query: VectorStoreQuery,
        *,
        where: Where | None = None,
        mode: SearchMode | None = None,
        mmr_threshold: float | None = None,
        mmr_prefetch_k: int | None = None,
        options: SearchOptions | None = None,
        **kwargs: object,
    ) -> VectorStoreQueryResult:
        """Return the nodes that fit a query best, best first.

        The similarities are the scores of the mode (:class:`SearchMode`): a cosine for DENSE and
        for ``mmr``, BM25 for WORDS, a fused score for HYBRID (:class:`Fusion`). A
        ``similarity_cutoff`` made for cosines needs ``mode=SearchMode.DENSE``.

        Args:
            query: A query with ``query_embedding``, ``query_str`` or both. The dense vector is
                ``query_embedding``; without it, ``query_str`` is embedded here. The sparse vector
                is always that of ``query_str``, and so are words. The modes are ``default``,
                ``hybrid``, ``sparse``, ``text_search`` (words) and ``mmr``, which compares dense
                vectors. ``alpha`` weighs a hybrid query: 1 is a search by dense vectors alone, with
                cosines; 0 ranks by the others, before nodes that only dense vectors find.
                ``hybrid_top_k`` and ``sparse_top_k`` count the nodes of their modes instead of
                ``similarity_top_k``. In a hybrid query ``sparse_top_k`` is the depth to which
                sparse vectors and words are ranked, and ``similarity_top_k`` that of dense vectors,
                before they are fused; without ``sparse_top_k`` it is :attr:`Fusion.depth` for all.
            where: A condition or ``models.Filter`` in addition to the query's own filters.
            mode: The mode of a query whose mode is ``default``. None is HYBRID if the collection
                has sparse vectors or words and the query a text, and else DENSE, as in
                :meth:`Collection.search`. An index passes it on from ``vector_store_kwargs``.
            mmr_threshold: For the mode ``mmr``, if the query has none: 1 is relevance alone, 0 is
                variety alone; None is 0.5.
            mmr_prefetch_k: For the mode ``mmr``: how many of the nearest to choose from; None is
                four times as many as wanted, at least 20.
            options: Thresholds, groups, boosts and the like; with ``mmr`` they keep its variety. An
                index passes them on from ``vector_store_kwargs``.
            **kwargs: Refused.

        Raises:
            ValueError: The mode, ``alpha``, or an operator in the filters has no counterpart
                here, or there are two modes; or the query lacks the text that the mode needs.
            StoreError: The embedding has another width than the collection's, or is not finite; or
                the collection lacks what the mode compares.
        """
        refuse_unknown(kwargs, "query()")
        wanted = with_variety(
            query, options or SearchOptions(), threshold=mmr_threshold, candidates=mmr_prefetch_k
        )
        calls = SearchCalls.blocking(self._collection)
        return run_now(self._find(query, calls, where, mode, wanted))

    async def aquery(
        self,
        query: VectorStoreQuery,
        *,
        where: Where | None = None,
        mode: SearchMode | None = None,
        mmr_threshold: float | None = None,
        mmr_prefetch_k: int | None = None,
        options: SearchOptions | None = None,
        **kwargs: object,
    ) -> VectorStoreQueryResult:
        """Do what :meth:`query` does, without blocking the event loop."""
        refuse_unknown(kwargs, "query()")
        wanted = with_variety(
            query, options or SearchOptions(), threshold=mmr_threshold, candidates=mmr_prefetch_k
        )
        calls = SearchCalls.in_loop(self._collection)
        return await self._find(query, calls, where, mode, wanted)

    async def _find(
        self,
        query: VectorStoreQuery,
        calls: SearchCalls,
        where: Where | None,
        mode: SearchMode | None,
        options: SearchOptions,
    ) -> VectorStoreQueryResult:
        chosen = query_mode(query, mode)
        met = query_condition(query, where)
        hits = await find_hits(
            query, self._collection, calls, where=met, mode=chosen, options=options
        )
        return VectorStoreQueryResult(
            nodes=[to_node(hit) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )
