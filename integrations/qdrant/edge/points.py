"""Convert points and queries to those of Qdrant Edge, and back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias, Union, cast

import numpy as np
import qdrant_edge as edge

from ..stores.protocol import DENSE, SPARSE, STATES, Payload, Point, Select
from ..stores.queries import RRF_K, HybridQuery, Query, Single, prefetched
from ..stores.sparse_vector import SparseVector

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Named: TypeAlias = Union["list[float]", edge.SparseVector, "list[list[float]]"]


def to_edge(point: Point) -> edge.Point:
    """Return a point in Edge's form; missing vectors are left out."""
    vectors: dict[str, _Named] = {}
    if point.dense is not None:
        vectors[DENSE] = _as_list(point.dense)
    if point.sparse is not None:
        vectors[SPARSE] = _to_sparse(point.sparse)
    if point.soft_tokens is not None:
        vectors[STATES] = cast("list[list[float]]", point.soft_tokens)
    return edge.Point(point.id, vectors, point.payload)


def from_edge(record: edge.Record | edge.ScoredPoint) -> Point:
    """Return a point that Edge found in decant's form."""
    held = record.vector if isinstance(record.vector, dict) else {}
    dense, sparse, states = held.get(DENSE), held.get(SPARSE), held.get(STATES)
    return Point(
        id=str(record.id),
        payload=cast("Payload", record.payload or {}),
        dense=None if dense is None else np.asarray(dense, np.float32),
        sparse=_from_sparse(sparse) if isinstance(sparse, edge.SparseVector) else None,
        soft_tokens=None if states is None else np.asarray(states, np.float32),
    )


def to_request(
    query: Query, fetch: Select, *, limit: int, offset: int, chosen: edge.Filter | None
) -> edge.QueryRequest:
    """Return a query in Edge's form; the filter ``chosen`` holds for every fused ranking."""
    request = partial(
        edge.QueryRequest,
        limit=limit,
        offset=offset,
        with_vector=vectors_of(fetch),
        with_payload=fields_of(fetch),
    )
    if not isinstance(query, HybridQuery):
        return request(query=_nearest(query), filter=chosen)
    depth = prefetched(limit, offset)
    return request(
        prefetches=[edge.Prefetch(depth, _nearest(part), filter=chosen) for part in query.parts],
        # The stub does not state that Rrf is a Fusion.
        query=cast("edge.Fusion", edge.Fusion.Rrf(RRF_K)),
    )


def fields_of(fetch: Select) -> bool | list[str]:
    """Return the selection of payload fields in Edge's form."""
    return True if fetch.fields is None else list(fetch.fields)


def vectors_of(fetch: Select) -> bool | list[str]:
    """Return the selection of vectors in Edge's form."""
    return fetch.vectors or False


def _nearest(vector: Single) -> edge.Query:
    if isinstance(vector, SparseVector):
        return edge.Query.Nearest(_to_sparse(vector), using=SPARSE)
    return edge.Query.Nearest(_as_list(vector), using=DENSE)


def _as_list(vector: NDArray[np.float32]) -> list[float]:
    # Edge reads numpy arrays directly, several times faster than lists; its stub does not state it.
    return cast("list[float]", vector)


def _to_sparse(vector: SparseVector) -> edge.SparseVector:
    return edge.SparseVector(vector.indices.tolist(), vector.values.tolist())


def _from_sparse(vector: edge.SparseVector) -> SparseVector | None:
    if not vector.indices:
        return None
    return SparseVector(
        indices=np.asarray(vector.indices, np.int64), values=np.asarray(vector.values, np.float32)
    )
