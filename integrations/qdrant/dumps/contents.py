"""What is dumped of a collection: its points page by page, as one kind of collection has them.

Points of decant's are read through a store, which may be that of one tenant. Those of an adopted
collection are read to the letter (``adopted.py``). Invariant: :meth:`Contents.fingerprint` differs
where a change of the collection would make another dump.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Protocol, TypeVar

from ..late.token_vectors import READ_NUMBERS
from ..stores.changes import LEASE
from ..stores.collection_metadata import CollectionMetadata
from ..stores.filters import Field, FieldIn
from ..stores.point_ids import Kind
from ..stores.protocol import Point, Select, Store, each
from .archive import DumpWriter

DUMPED = FieldIn(Field.KIND, (Kind.CHUNK, Kind.RECORD, Kind.DOCUMENT, Kind.NOTE))
"""What a dump holds; tombstones and points of other programs are left out."""

_PAGE = 512

T = TypeVar("T")


class Contents(Protocol[T]):
    """The points of a collection that are dumped."""

    def pages(self) -> Iterator[list[T]]:
        """Yield the points with their vectors."""
        ...

    def pages_again(self) -> Iterator[list[T]]:
        """Yield the points with what their fingerprints are made of."""
        ...

    def fingerprint(self, point: T) -> bytes:
        """Return what stands for a point when it is seen whether the collection changed."""
        ...

    def vector_bytes(self, point: T) -> int:
        """Return about how many bytes the vectors of a point have."""
        ...

    def write(self, writer: DumpWriter, block: list[T]) -> None:
        """Write a block of points."""
        ...


class OwnContents:
    """Points of decant's, by which their ids and payloads are compared, and not their vectors.

    Args:
        store: The store, which may be that of one tenant.
        name: The collection's own name.
        card: Its metadata.
    """

    def __init__(self, store: Store, name: str, card: CollectionMetadata) -> None:
        self._store = store
        self._name = name
        self._card = card

    def pages(self) -> Iterator[list[Point]]:
        """Yield the points with their vectors."""
        card = self._card
        tokens = card.token_vectors
        fetch = Select(
            dense=True,
            sparse=card.sparse,
            soft_tokens=card.soft_tokens is not None,
            token_vectors=tokens is not None,
        )
        return self._pages(fetch, _PAGE if tokens is None else tokens.bounded(_PAGE, READ_NUMBERS))

    def pages_again(self) -> Iterator[list[Point]]:
        """Yield the points without their vectors."""
        return self._pages(Select(), _PAGE)

    def fingerprint(self, point: Point) -> bytes:
        """Return the id and the payload of a point."""
        return json.dumps([point.id, point.payload], sort_keys=True).encode()

    def vector_bytes(self, point: Point) -> int:
        """Return how many bytes the vectors of a point have."""
        rows = (point.dense, point.soft_tokens, point.token_vectors)
        size = sum(one.nbytes for one in rows if one is not None)
        return size if point.sparse is None else size + 3 * point.sparse.values.nbytes

    def write(self, writer: DumpWriter, block: list[Point]) -> None:
        """Write a block of points."""
        writer.add(block)

    def _pages(self, fetch: Select, size: int) -> Iterator[list[Point]]:
        for page in each(self._store, self._name, DUMPED, fetch, page=size):
            yield [point for point in page if point.payload.get("note") != LEASE]
