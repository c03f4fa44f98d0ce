"""Points and queries in the words of qdrant-client, there and back.

Vectors go as lists, which the client turns into JSON or, over gRPC, into protobuf. Its faster way
for numpy arrays over gRPC ends where a sparse vector is present.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from qdrant_client import models

from decant.embedders import StoreError

from ..stores.point_size import PointSizes
from ..stores.protocol import DENSE, SPARSE, STATES, Payload, Point, Select
from ..stores.queries import RRF_K, HybridQuery, Query, Single, prefetched
from ..stores.sparse_vector import SparseVector

_AROUND = 1_024  # bytes that a request has beside its points


def to_struct(point: Point) -> models.PointStruct:
    """Return a point as the client stores it; vectors that it lacks are left out."""
    vectors: dict[str, models.Vector] = {}
    if point.dense is not None:
        vectors[DENSE] = point.dense.tolist()
    if point.sparse is not None:
        vectors[SPARSE] = _to_sparse(point.sparse)
    if point.soft_tokens is not None:
        vectors[STATES] = point.soft_tokens.tolist()
    return models.PointStruct(id=point.id, vector=vectors, payload=point.payload)


def to_change(point: Point) -> models.UpdateOperation:
    """Return the replacement of a point's payload fields."""
    change = models.SetPayload(payload=point.payload, points=[point.id])
    return models.SetPayloadOperation(set_payload=change)


def from_record(record: models.Record | models.ScoredPoint) -> Point:
    """Read what the client found."""
    held = record.vector if isinstance(record.vector, dict) else {}
    dense, sparse, states = held.get(DENSE), held.get(SPARSE), held.get(STATES)
    payload: Payload = record.payload or {}
    return Point(
        id=str(record.id),
        payload=payload,
        dense=None if dense is None else np.asarray(dense, np.float32),
        sparse=_from_sparse(sparse) if isinstance(sparse, models.SparseVector) else None,
        soft_tokens=None if states is None else np.asarray(states, np.float32),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The arguments of ``query_points`` that a query decides."""

    query: list[float] | models.SparseVector | models.RrfQuery
    using: str | None
    prefetch: list[models.Prefetch] | None
    filter: models.Filter | None


def to_search(
    query: Query, *, limit: int, offset: int, chosen: models.Filter | None, deepest: int
) -> Search:
    """Return a query as the client takes it.

    Args:
        query: What to search with.
        limit: How many points.
        offset: How many to pass over.
        chosen: Holds for every ranking that is fused.
        deepest: How long a ranking that is fused may be, where the server sets a limit.
    """
    if not isinstance(query, HybridQuery):
        value, using = _nearest(query)
        return Search(query=value, using=using, prefetch=None, filter=chosen)
    depth = min(prefetched(limit, offset), deepest)
    prefetch = [
        models.Prefetch(query=value, using=using, filter=chosen, limit=depth)
        for value, using in map(_nearest, query.parts)
    ]
    fusion = models.RrfQuery(rrf=models.Rrf(k=RRF_K))
    return Search(query=fusion, using=None, prefetch=prefetch, filter=None)


def fields_of(fetch: Select) -> bool | list[str]:
    """Return which payload fields come."""
    return True if fetch.fields is None else list(fetch.fields)


def vectors_of(fetch: Select) -> bool | list[str]:
    """Return which vectors come."""
    return fetch.vectors or False


def _nearest(vector: Single) -> tuple[list[float] | models.SparseVector, str]:
    if isinstance(vector, SparseVector):
        return _to_sparse(vector), SPARSE
    return vector.tolist(), DENSE


def _to_sparse(vector: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())


def _from_sparse(vector: models.SparseVector) -> SparseVector | None:
    if not vector.indices:
        return None
    return SparseVector(
        indices=np.asarray(vector.indices, np.int64), values=np.asarray(vector.values, np.float32)
    )


def check_size(point: Point, largest: int) -> None:
    """Refuse a point that alone makes a larger request than a server takes.

    Args:
        point: It is written out only where its bound is above that.
        largest: Bytes of a request.

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
