"""Read and write the points of a collection on a server to the letter, whoever stored them.

Requests stay within the server's limits. Invariant: what :meth:`StoredPoints.write` stored,
:meth:`StoredPoints.pages` reads again with the same ids, payloads and vectors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qdrant_client import models

from ..foreign_payloads.raw_point import UNNAMED, RawPoint, RawSparseVector, RawVector
from ..late.token_vectors import READ_NUMBERS
from ..server.limits import Limits, most_ids, most_writes
from ..server.requests import Requests
from ..stores.point_size import REQUEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBER = 37  # bytes of a number of a vector as JSON at most, with the index of a sparse one
_FIRST = 32  # points in the first page, of which it is seen how large they are
_POINT = 200  # bytes of a point without its payload and its vectors


class StoredPoints:
    """The points of one collection on a server, or in qdrant-client's local mode.

    Args:
        requests: What sends requests.
        name: The collection's own name.
    """

    def __init__(self, requests: Requests, name: str) -> None:
        self._requests = requests
        self._client = requests.client
        self._name = name

    def pages(self, most: int) -> Iterator[list[RawPoint]]:
        """Yield all points with all vectors in the order of their ids, at most so many at a time.

        Points with many vectors are read fewer at a time, as many as the last ones suggest.
        """
        size, after = min(_FIRST, most), None
        while True:
            points, after = self._page(size, after)
            yield points
            if after is None:
                return
            largest = max(point.numbers for point in points) if points else 1
            size = max(1, min(most, READ_NUMBERS // max(largest, 1)))

    def _page(
        self, size: int, start: models.ExtendedPointId | None
    ) -> tuple[list[RawPoint], models.ExtendedPointId | None]:
        """Return some points, and the id at which the next ones start."""

        def send(
            limits: Limits,
        ) -> tuple[list[models.Record], Any]:
            request = partial(
                self._client.scroll,
                self._name,
                limit=min(size, limits.page),
                offset=start,
                with_payload=True,
                with_vectors=True,
            )
            return self._requests.ask(f"reading from {self._name!r}", request)

        records, after = self._requests.adapting(self._name, send)
        return [_raw(record) for record in records], after

    def there(self, ids: Sequence[int | str]) -> set[int | str]:
        """Return those of these ids that have a point."""

        def send(part: Sequence[int | str]) -> list[models.Record]:
            read = partial(
                self._client.retrieve,
                self._name,
                list(part),
                with_payload=False,
                with_vectors=False,
            )
            return self._requests.ask(f"reading from {self._name!r}", read)

        found = self._requests.in_parts(self._name, ids, most_ids, send)
        return {_id(record.id) for records in found for record in records}

    def write(self, points: Sequence[RawPoint]) -> None:
        """Store points, replacing those of the same ids."""

        def send(part: Sequence[RawPoint]) -> None:
            structs = [_struct(point) for point in part]
            request = partial(self._client.upsert, self._name, structs)
            self._requests.ask(f"writing to {self._name!r}", request)

        for batch in _batches(points):
            for _ in self._requests.in_parts(self._name, batch, most_writes, send):
                pass


def _batches(points: Sequence[RawPoint]) -> Iterator[Sequence[RawPoint]]:
    """Cut points into parts whose requests are not too large; a larger point has one of its own."""
    start = total = 0
    for place, point in enumerate(points):
        size = _POINT + len(json.dumps(point.payload)) + _NUMBER * point.numbers
        if place > start and total + size > REQUEST_BYTES:
            yield points[start:place]
            start, total = place, 0
        total += size
    if start < len(points):
        yield points[start:]


def _raw(record: models.Record) -> RawPoint:
    given = record.vector
    held = given if isinstance(given, dict) else {UNNAMED: given} if given else {}
    vectors = {name: _vector(one) for name, one in held.items()}
    return RawPoint(id=_id(record.id), payload=record.payload or {}, vectors=vectors)


def _id(identity: models.ExtendedPointId) -> int | str:
    return identity if isinstance(identity, int) else str(identity)


def _vector(held: object) -> RawVector:
    if isinstance(held, models.SparseVector):
        return RawSparseVector(
            indices=np.asarray(held.indices, np.uint32), values=np.asarray(held.values, np.float32)
        )
    return np.asarray(held, np.float32)


def _struct(point: RawPoint) -> models.PointStruct:
    vectors: Mapping[str, models.Vector] = {
        name: _model(one) for name, one in point.vectors.items()
    }
    is_unnamed = vectors.keys() == {UNNAMED}
    # Without validation, which takes as long as to write the JSON.
    return models.PointStruct.model_construct(
        id=point.id, vector=vectors[UNNAMED] if is_unnamed else vectors, payload=point.payload
    )


def _model(held: RawVector) -> models.Vector:
    if isinstance(held, RawSparseVector):
        return models.SparseVector(indices=held.indices.tolist(), values=held.values.tolist())
    numbers: models.Vector = held.tolist()
    return numbers
