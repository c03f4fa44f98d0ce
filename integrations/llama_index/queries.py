"""Turn a query of LlamaIndex into a collection's mode, vectors, condition and count.

LlamaIndex embeds a query itself, perhaps from another text than the query's own (HyDE). So the
dense vector is taken from the query, and only the sparse one is made here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from decant.embedders import Output, Role, StoreError, Vectors
from decant.embedders.enum_fields import member

from ..arguments import check_ids
from ..qdrant import And, Collection, Field, FieldIn, Fusion, SearchMode
from .filters import to_condition

if TYPE_CHECKING:
    from ..qdrant.stores.filters import Where

_NOTHING = "the query has neither query_embedding nor query_str; give one of them"


def query_mode(query: VectorStoreQuery, mode: SearchMode | None) -> SearchMode | None:
    """Return the search mode of a query.

    Raises:
        ValueError: No mode corresponds, or two were given.
        StoreError: ``mode`` is none.
    """
    if mode is not None:
        mode = member(SearchMode, mode, error=StoreError)
    match query.mode:
        case VectorStoreQueryMode.DEFAULT:
            return mode
        case VectorStoreQueryMode.HYBRID:
            meant = SearchMode.HYBRID
        case VectorStoreQueryMode.SPARSE:
            meant = SearchMode.SPARSE
        case VectorStoreQueryMode.TEXT_SEARCH:
            meant = SearchMode.WORDS
        case VectorStoreQueryMode.MMR:
            meant = SearchMode.DENSE
        case _:
            raise ValueError(
                f"the query mode {query.mode.value!r} has no counterpart here; use 'default', "
                "'hybrid', 'sparse', 'text_search' or 'mmr'"
            )
    if mode is not None and mode != meant:
        raise ValueError(
            f"the query's mode is {meant.value!r} and mode={str(mode)!r} was given; give one"
        )
    return meant


def stored_fusion(collection: Collection) -> Fusion:
    """Return the fusion that the collection stores, else the default."""
    defaults = collection.search_defaults
    return Fusion() if defaults is None or defaults.fusion is None else defaults.fusion


def compares_dense_alone(query: VectorStoreQuery) -> bool:
    """Return whether a hybrid query gives dense vectors all the weight (``alpha`` is 1)."""
    return query.mode is VectorStoreQueryMode.HYBRID and query.alpha == 1


def query_fusion(query: VectorStoreQuery, collection: Collection) -> Fusion | None:
    """Return how a hybrid query weighs the rankings: ``alpha`` is the weight of dense vectors.

    The formula is that of the collection's search defaults, if it stores some.

    Raises:
        ValueError: ``alpha`` is not between 0 and 1.
    """
    if query.mode is not VectorStoreQueryMode.HYBRID or (alpha := query.alpha) is None:
        return None
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is from 0 (words) to 1 (vectors), got {alpha}")
    weights = {SearchMode.DENSE.value: alpha}
    if collection.has_sparse:
        weights[SearchMode.SPARSE.value] = 1 - alpha
    if collection.has_words:
        weights[SearchMode.WORDS.value] = 1 - alpha
    return replace(stored_fusion(collection), weights=weights)


def node_count(query: VectorStoreQuery) -> int:
    """Return how many nodes to find; hybrid and sparse queries may have counts of their own."""
    match query.mode:
        case VectorStoreQueryMode.HYBRID:
            return query.hybrid_top_k or query.similarity_top_k
        case VectorStoreQueryMode.SPARSE | VectorStoreQueryMode.TEXT_SEARCH:
            return query.sparse_top_k or query.similarity_top_k
        case _:
            return query.similarity_top_k


def branch_depths(query: VectorStoreQuery, collection: Collection) -> dict[SearchMode, int] | None:
    """Return the depth of each ranking of a hybrid query that sets them; None: the default.

    LlamaIndex defines them: ``similarity_top_k`` counts the dense ranking and ``sparse_top_k`` the
    others, before they are fused. Without ``sparse_top_k`` a query sets none.
    """
    is_hybrid = query.mode is VectorStoreQueryMode.HYBRID
    if not (is_hybrid and query.sparse_top_k and (collection.has_sparse or collection.has_words)):
        return None
    depths = {SearchMode.DENSE: query.similarity_top_k}
    if collection.has_sparse:
        depths[SearchMode.SPARSE] = query.sparse_top_k
    if collection.has_words:
        depths[SearchMode.WORDS] = query.sparse_top_k
    return depths


def query_text(query: VectorStoreQuery, mode: SearchMode) -> str:
    """Return the text of a query whose mode compares words or weights.

    Raises:
        ValueError: The query has none.
    """
    if query.query_str is None:
        raise ValueError(
            f"the mode {mode.value!r} compares words or weights of query_str, and the query has "
            "only query_embedding"
            if query.query_embedding is not None
            else _NOTHING
        )
    return query.query_str


def query_vectors(
    query: VectorStoreQuery, collection: Collection, mode: SearchMode | None
) -> Vectors:
    """Return the vectors of a query: a dense one, and a sparse one if the mode needs it.

    The mode is another than WORDS, which needs no vectors.

    Raises:
        ValueError: The query has neither a text nor an embedding, or lacks the one that the mode
            needs.
    """
    text, given = query.query_str, query.query_embedding
    # Without the model a sparse vector cannot be added to a dense one that was given.
    is_here = mode in (SearchMode.HYBRID, SearchMode.SPARSE) or not collection.embeds_on_server
    sparse = mode is not SearchMode.DENSE and collection.has_sparse and is_here
    if mode is SearchMode.SPARSE or mode is SearchMode.HYBRID:
        query_text(query, mode)
    elif text is None and given is None:
        raise ValueError(_NOTHING)
    dense = None if given is None else np.asarray([given], np.float32)
    if text is None or (dense is not None and not sparse):
        assert dense is not None
        return Vectors(dense=dense)
    outputs = [Output.SPARSE] if sparse else []
    vectors = collection.encoder.encode([text], role=Role.QUERY, outputs=outputs)
    return vectors if dense is None else replace(vectors, dense=dense)


def query_condition(query: VectorStoreQuery, where: Where | None) -> Where | None:
    """Return the condition of a query's ids, filters and ``where`` together; None without any.

    Raises:
        TypeError: ``node_ids`` or ``doc_ids`` is one string.
        ValueError: An operator in the filters has no counterpart here.
    """
    check_ids(query.node_ids, "node_ids of the query")
    check_ids(query.doc_ids, "doc_ids of the query")
    parts: list[Where] = []
    if query.node_ids:  # LlamaIndex's retriever passes an empty list when it means no restriction
        parts.append(FieldIn(Field.ID, query.node_ids))
    if query.doc_ids:
        parts.append(FieldIn(Field.SOURCE, query.doc_ids))
    parts += [part for part in (to_condition(query.filters), where) if part is not None]
    return And(parts) if parts else None
