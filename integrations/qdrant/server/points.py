"""Convert points and queries to models of qdrant-client, and back.

Vectors are passed as lists, which the client turns into JSON or, over gRPC, into protobuf. Protobuf
takes twice as long for numpy rows, and the client itself refuses named ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from qdrant_client import models

from decant.embedders import StoreError

from ..matryoshka.prefix import OVERSAMPLING, query_prefix
from ..stores.point_size import PointSizes, batches
from ..stores.protocol import (
    DENSE,
    PREFIX,
    SPARSE,
    STATES,
    TOKENS,
    Payload,
    Point,
    ScoredPoint,
    Select,
)
from ..stores.queries import DenseQuery, Query, TokensQuery, WordsQuery, bounded, is_dense
from ..stores.sparse_vector import SparseVector
from ..stores.text_to_embed import TextToEmbed
from ..words.bm25 import BM25
from .filters import to_filter
from .limits import Limits
from .writing.fence import VERSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

VectorQuery: TypeAlias = (
    "NDArray[np.float32] | DenseQuery | SparseVector | TextToEmbed | TokensQuery"
)
"""A query that is compared with vectors."""

Sent: TypeAlias = (
    "tuple[list[float] | list[list[float]] | models.SparseVector | models.Document, str | None]"
)
"""A query in the client's form, and the name of the vector that it is compared with, if any."""

_TEXTS = 64  # in a request, whose time includes that of the model on the server's side
_AROUND = 1_024  # bytes of a request in addition to its points


def to_struct(point: Point) -> models.PointStruct:
    """Return a point as a model of the client; missing vectors are left out."""
    vectors: dict[str, models.Vector] = {}
    if point.dense is not None:
        vectors[DENSE] = point.dense.tolist()
    if point.prefix is not None:
        vectors[PREFIX] = point.prefix.tolist()
    if point.sparse is not None:
        vectors[SPARSE] = _to_sparse(point.sparse)
    if point.words is not None:
        vectors[BM25] = _to_sparse(point.words)
    if point.soft_tokens is not None:
        vectors[STATES] = point.soft_tokens.tolist()
    if point.token_vectors is not None:
        vectors[TOKENS] = point.token_vectors.tolist()
    for text in point.to_embed:
        vectors[text.using] = to_document(text)
    # Without validation, which takes as long as to write the JSON; a point is checked already.
    return models.PointStruct.model_construct(id=point.id, vector=vectors, payload=point.payload)


def to_document(text: TextToEmbed) -> models.Document:
    """Return a text of which the server makes a vector, in the client's form."""
    return models.Document(text=text.text, model=text.model, options=text.options)


def from_record(record: models.Record | models.ScoredPoint) -> Point:
    """Return a point that the client found in decant's form."""
    held = record.vector if isinstance(record.vector, dict) else {}
    dense, sparse, states = held.get(DENSE), held.get(SPARSE), held.get(STATES)
    prefix, tokens = held.get(PREFIX), held.get(TOKENS)
    payload: Payload = record.payload or {}
    if VERSION in payload:
        payload = {name: value for name, value in payload.items() if name != VERSION}
    return Point(
        id=str(record.id),
        payload=payload,
        dense=None if dense is None else np.asarray(dense, np.float32),
        sparse=_from_sparse(sparse) if isinstance(sparse, models.SparseVector) else None,
        soft_tokens=None if states is None else np.asarray(states, np.float32),
        token_vectors=None if tokens is None else np.asarray(tokens, np.float32),
        prefix=None if prefix is None else np.asarray(prefix, np.float32),
    )


def to_scored(
    query: Query,
    points: Sequence[models.ScoredPoint],
    read: Callable[[models.ScoredPoint], Point] = from_record,
) -> list[ScoredPoint]:
    """Return the points that a query found in decant's form, equal scores in the order of ids.

    A server returns equal scores in any order, and in another one the next time.

    Args:
        query: The query.
        points: What it found.
        read: Returns a point in decant's form.
    """
    scores = bounded(query, (item.score for item in points))
    found = [
        ScoredPoint(point=read(item), score=score)
        for item, score in zip(points, scores, strict=True)
    ]
    return sorted(found, key=lambda item: (-item.score, item.point.id))


def fields_of(fetch: Select) -> bool | list[str]:
    """Return the selection of payload fields in the client's form."""
    if not fetch.fields:
        return fetch.fields is None
    return list(fetch.fields)


def vectors_of(fetch: Select) -> bool | list[str]:
    """Return the selection of vectors in the client's form."""
    return fetch.vectors or False


def to_query(query: VectorQuery, *, words: bool = False) -> Sent:
    """Return a query in the client's form, and the name of the vector it is compared with.

    Args:
        query: The vector, or the text of which the server makes it.
        words: Whether it holds the words of a query.
    """
    if isinstance(query, SparseVector):
        return _to_sparse(query), BM25 if words else SPARSE
    if isinstance(query, TokensQuery):
        return query.vectors.tolist(), TOKENS
    vector = query.vector if isinstance(query, DenseQuery) else query
    if isinstance(vector, TextToEmbed):
        return to_document(vector), vector.using
    return vector.tolist(), DENSE


def params_of(
    query: Query, limits: Limits, *, oversampling: float | None
) -> models.SearchParams | None:
    """Return the search parameters of a query in the client's form, if it has any.

    Args:
        query: The query.
        limits: Those of a filter.
        oversampling: How many candidates of compressed vectors to rescore, as a multiple of the
            limit; None: vectors are not compressed.
    """
    if isinstance(query, WordsQuery):
        if query.corpus is None or not hasattr(models, "IdfCorpusParams"):
            return None  # a client before 1.20 has statistics of all texts alone
        corpus = models.IdfCorpusParams(corpus=to_filter(query.corpus, limits))
        return models.SearchParams(idf=corpus)
    rescoring = None
    if oversampling is not None and is_dense(query):
        most = min(oversampling, limits.oversampling)
        rescoring = models.QuantizationSearchParams(rescore=True, oversampling=most)
    if isinstance(query, DenseQuery):
        return models.SearchParams(hnsw_ef=query.ef, exact=query.exact, quantization=rescoring)
    return None if rescoring is None else models.SearchParams(quantization=rescoring)


def by_prefix(
    query: Query, request: models.QueryRequest, *, prefix: int, end: int, most: int
) -> models.QueryRequest:
    """Return a request that finds candidates by their prefixes first, if the collection has them.

    Args:
        query: The query.
        request: The request that compares whole vectors, with the parameters for what is searched.
        prefix: How long the collection's prefixes are; 0: it has none.
        end: How many hits are wanted, in all requests together.
        most: How many points the server finds in one request; for more hits, all whole vectors are
            compared.
    """
    vector = query_prefix(query, prefix)
    if vector is None or end > most:
        return request
    candidates = models.Prefetch(
        query=vector.tolist(),
        using=PREFIX,
        params=request.params,
        filter=request.filter,
        limit=min(OVERSAMPLING * end, most),
    )
    # The candidates fit the filter, and whole vectors have no parameters of a search.
    return request.model_copy(update={"prefetch": [candidates], "params": None, "filter": None})


def _to_sparse(vector: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())


def _from_sparse(vector: models.SparseVector) -> SparseVector | None:
    if not vector.indices:
        return None
    return SparseVector(
        indices=np.asarray(vector.indices, np.int64), values=np.asarray(vector.values, np.float32)
    )


def cut_writes(points: Sequence[Point], *, most: int, largest: int | None) -> list[Sequence[Point]]:
    """Cut points into requests.

    Args:
        points: Points to store.
        most: How many points a request may have.
        largest: The most bytes of a request; None if there is no limit.

    Raises:
        StoreError: A single point is larger than a request may be.
    """
    if any(point.to_embed for point in points):
        most = min(most, _TEXTS)
    parts = list(batches(points, most))
    if largest is not None:
        for part in parts:
            if len(part) == 1:  # only a part of one point can be larger than the limit
                check_size(part[0], largest)
    return parts


def check_size(point: Point, largest: int) -> None:
    """Refuse a point whose request alone is larger than a server accepts.

    Args:
        point: The point; it is serialised only if its estimated size is too large.
        largest: The most bytes of a request.

    Raises:
        StoreError: The message names the point and its size.
    """
    if PointSizes().of(point) <= largest:
        return
    size = len(to_struct(point).model_dump_json().encode())
    if size <= largest - _AROUND:
        return
    payload = point.payload
    name = payload.get("id", point.id)
    source = f" of source {payload['source']!r}" if payload.get("source") else ""
    raise StoreError(
        f"the record {name!r}{source} takes {size} bytes as JSON, and a server takes requests of "
        f"at most {largest}; shorten its text or its metadata, or use a client with "
        "prefer_grpc=True, which has no such limit"
    )
