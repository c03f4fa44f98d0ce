"""Convert points and queries to those of Qdrant Edge, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, Union, cast

import numpy as np
import qdrant_edge as edge

from ..matryoshka.prefix import OVERSAMPLING, query_prefix, with_prefixes
from ..stores.collection_settings import StoredLayout
from ..stores.protocol import (
    DENSE,
    PREFIX,
    SPARSE,
    STATES,
    TEXT,
    TOKENS,
    Payload,
    Point,
    ScoredPoint,
    Select,
)
from ..stores.queries import DenseQuery, Query, TokensQuery, WordsQuery, bounded, is_dense
from ..stores.sparse_vector import SparseVector
from ..stores.text_to_embed import Embedding, TextToEmbed, refuse_texts, texts_need_a_server
from ..stores.translation.translate import translate
from ..stores.words import B, K
from ..words.text_index import from_edge_sparse
from .errors import is_missing_point
from .filters import EdgeDialect

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EDGE = "EdgeStore, which runs Qdrant Edge in this process,"

_Named: TypeAlias = Union["list[float]", edge.SparseVector, "list[list[float]]"]


def check_vectors(points: Sequence[Point]) -> None:
    """Refuse points with texts in place of vectors, before any of them is stored.

    Raises:
        StoreInputError: There is such a point.
    """
    refuse_texts((text for point in points for text in point.to_embed), _EDGE)


def to_upsert(points: Sequence[Point], prefix: int) -> edge.UpdateOperation:
    """Return the operation that stores points.

    Args:
        points: The points.
        prefix: How long the collection's prefixes are, which are made here; 0: it has none.
    """
    whole = with_prefixes(points, prefix)
    return edge.UpdateOperation.upsert_points([to_edge(point) for point in whole])


def to_edge(point: Point) -> edge.Point:
    """Return a point in Edge's form; missing vectors are left out."""
    vectors: dict[str, _Named] = {}
    if point.dense is not None:
        vectors[DENSE] = _as_list(point.dense)
    if point.prefix is not None:
        vectors[PREFIX] = _as_list(point.prefix)
    if point.sparse is not None:
        vectors[SPARSE] = _to_sparse(point.sparse)
    if point.soft_tokens is not None:
        vectors[STATES] = _as_rows(point.soft_tokens)
    if point.token_vectors is not None:
        vectors[TOKENS] = _as_rows(point.token_vectors)
    return edge.Point(point.id, vectors, point.payload)


def from_edge(record: edge.Record | edge.ScoredPoint) -> Point:
    """Return a point that Edge found in decant's form."""
    held = record.vector if isinstance(record.vector, dict) else {}
    dense, sparse, states = held.get(DENSE), held.get(SPARSE), held.get(STATES)
    prefix, tokens = held.get(PREFIX), held.get(TOKENS)
    return Point(
        id=str(record.id),
        payload=cast("Payload", record.payload or {}),
        dense=None if dense is None else np.asarray(dense, np.float32),
        sparse=from_edge_sparse(sparse) if isinstance(sparse, edge.SparseVector) else None,
        soft_tokens=None if states is None else np.asarray(states, np.float32),
        token_vectors=None if tokens is None else np.asarray(tokens, np.float32),
        prefix=None if prefix is None else np.asarray(prefix, np.float32),
    )


def to_request(
    query: Query,
    fetch: Select,
    *,
    limit: int,
    offset: int = 0,
    chosen: edge.Filter | None,
    layout: StoredLayout,
) -> edge.QueryRequest:
    """Return a query in Edge's form, with the filter ``chosen``.

    Args:
        query: The query.
        fetch: What to bring back of each point.
        limit: How many points.
        offset: How many points to skip.
        chosen: The filter.
        layout: How the collection is stored, which decides what is searched and what rescores.
    """
    params = _params(query, layout.oversampling)
    prefetches: list[edge.Prefetch] | None = None
    if isinstance(query, TokensQuery):
        named = edge.HasIdCondition({*query.ids})
        chosen = edge.Filter(must=[named] if chosen is None else [named, chosen])
    if (prefix := query_prefix(query, layout.prefix)) is not None:
        candidates = edge.Prefetch(
            limit=OVERSAMPLING * (limit + offset),
            query=edge.Query.Nearest(_as_list(prefix), using=PREFIX),
            params=params,
            filter=chosen,
        )
        # The candidates fit the filter, and whole vectors have no parameters of a search.
        prefetches, params, chosen = [candidates], None, None
    return edge.QueryRequest(
        limit=limit,
        offset=offset,
        query=_scoring(query),
        prefetches=prefetches,
        filter=chosen,
        params=params,
        with_vector=vectors_of(fetch),
        with_payload=fields_of(fetch),
    )


def fields_of(fetch: Select) -> bool | list[str]:
    """Return the selection of payload fields in Edge's form."""
    if not fetch.fields:  # an empty list would read the payload to return nothing of it
        return fetch.fields is None
    return list(fetch.fields)


def vectors_of(fetch: Select) -> bool | list[str]:
    """Return the selection of vectors in Edge's form."""
    return fetch.vectors or False


def _scoring(query: Query) -> edge.Query | edge.TextQuery:
    match query:
        case WordsQuery(text=text):
            return edge.TextQuery(TEXT, text, edge.Bm25Params(k=K, b=B))
        case SparseVector():
            return edge.Query.Nearest(_to_sparse(query), using=SPARSE)
        case TokensQuery(vectors=vectors):
            return edge.Query.Nearest(_as_rows(vectors), using=TOKENS)
        case TextToEmbed():
            raise texts_need_a_server(_EDGE)
        case DenseQuery(vector=vector):
            return edge.Query.Nearest(_as_list(vector), using=DENSE)
        case _:
            return edge.Query.Nearest(_as_list(query), using=DENSE)


def set_payload(shard: edge.EdgeShard, point: Point) -> bool:
    """Replace fields of one point, and return whether it exists."""
    try:
        shard.update(edge.UpdateOperation.set_payload([point.id], point.payload))
    except Exception as error:
        if not is_missing_point(error):
            raise
        return False
    return True


def to_scored(query: Query, found: Sequence[edge.ScoredPoint]) -> list[ScoredPoint]:
    """Return the points that a query found in decant's form."""
    scores = bounded(query, (item.score for item in found))
    return [
        ScoredPoint(point=from_edge(item), score=score)
        for item, score in zip(found, scores, strict=True)
    ]


def _params(query: Query, oversampling: float | None) -> edge.SearchParams | None:
    if isinstance(query, WordsQuery):
        if query.corpus is None:
            return None
        corpus = edge.Filter(must=[translate(query.corpus, EdgeDialect())])
        return edge.SearchParams(idf=edge.IdfParams(corpus=corpus))
    rescoring = None
    if oversampling is not None and is_dense(query):
        rescoring = edge.QuantizationSearchParams(rescore=True, oversampling=oversampling)
    if isinstance(query, DenseQuery):
        return edge.SearchParams(hnsw_ef=query.ef, exact=query.exact, quantization=rescoring)
    return None if rescoring is None else edge.SearchParams(quantization=rescoring)


def _as_list(vector: Embedding) -> list[float]:
    if isinstance(vector, TextToEmbed):
        raise texts_need_a_server(_EDGE)
    # Edge reads numpy arrays directly, several times faster than lists; its stub does not state it.
    return cast("list[float]", vector)


def _as_rows(rows: NDArray[np.float32]) -> list[list[float]]:
    # Other than one row, Edge reads several in half the time as lists.
    found: list[list[float]] = rows.tolist()
    return found


def _to_sparse(vector: SparseVector) -> edge.SparseVector:
    return edge.SparseVector(vector.indices.tolist(), vector.values.tolist())
