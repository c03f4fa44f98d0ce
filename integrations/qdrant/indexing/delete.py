"""Delete points without ever leaving a marker that counts chunks which are gone.

The order matters: a document's marker is reopened before its first chunk is deleted, and the marker
is deleted after the last chunk. So a crash at any step leaves a document that the next indexing
completes. The collection's lock is held for a group of points at a time, never for a whole
deletion; only :meth:`Remover.everything` holds it throughout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from decant.embedders import StoreError

from ..points.golden import GOLDEN
from ..points.locks import CollectionLock
from ..points.payloads import CHUNKS, DOCUMENTS, MARKER, NOTES, Marker, State, is_own, passages
from ..stores.changes import LEASE
from ..stores.filters import And, Field, FieldIn, Where, is_vacuous
from ..stores.point_ids import DocumentKey, Kind
from ..stores.protocol import Point, Select, Store, each, each_with, slices

_OWNER = Select(fields=("kind", "root", "source"))
_GROUP = 64
_IDS = 512


class Remover:
    """Deletes points of one collection.

    Args:
        store: The store that holds it.
        name: The collection's name.
        lock: The collection's lock; ``writing`` is held while chunks of documents are deleted,
            because no marker may be closed when another thread has just deleted a chunk. Records
            are deleted without it.
    """

    def __init__(self, store: Store, name: str, lock: CollectionLock) -> None:
        self._store = store
        self._name = name
        self._lock = lock

    def ids(self, ids: Sequence[str]) -> int:
        """Delete the points with these ids, except markers and notes; return how many there were.

        Points of another program are deleted, too, because no other method could delete them.
        """
        removed = 0
        with self._turn():
            for part in slices(list(dict.fromkeys(ids)), _IDS):
                found = self._store.retrieve(self._name, part, _OWNER)
                removed += self._passages([point for point in found if not is_own(point)])
        return removed

    def matching(self, where: Where) -> int:
        """Delete the chunks and records that match; return how many there were.

        Raises:
            StoreError: The condition is empty.
        """
        if is_vacuous(where):
            raise StoreError(
                "this filter holds no condition, so it would delete everything; if that is meant, "
                "use clear()"
            )
        with self._turn():
            pages = each(self._store, self._name, passages(where), _OWNER)
            return sum(self._passages(page) for page in pages)

    def source(self, source: str, root: str | None) -> int:
        """Delete the passages of a source, in one root or in all; return how many there were."""
        named = FieldIn(Field.SOURCE, [source])
        scope = named if root is None else And([named, FieldIn(Field.ROOT, [root])])
        with self._turn():
            pages = each(self._store, self._name, And([DOCUMENTS, scope]), _OWNER)
            keys = [DocumentKey.of(point.payload) for page in pages for point in page]
            return self.documents(keys) + self.matching(scope)

    def documents(self, keys: Sequence[DocumentKey]) -> int:
        """Delete documents with their chunks; return how many chunks there were."""
        removed = 0
        with self._turn():
            for group in slices(keys, _GROUP):
                with self._lock.changing(group):
                    self.reopen(group)
                    removed += self._chunks(set(group))
                    self._store.delete(self._name, [key.marker_id for key in group])
        return removed

    def everything(self) -> None:
        """Delete all points of the collection."""
        store, name = self._store, self._name
        with self._turn(), self._lock.changing(None):
            for page in each(store, name, DOCUMENTS, _OWNER):
                self.reopen([DocumentKey.of(point.payload) for point in page])
            for where in (passages(None), DOCUMENTS):
                for page in each(store, name, where, Select(fields=())):
                    store.delete(name, [point.id for point in page])
            with self._lock.noting:
                for page in each(store, name, NOTES, Select(fields=("note",))):
                    # The golden vectors stay, as the recipe does, and so does the lease.
                    stay = (GOLDEN, LEASE)
                    gone = [point.id for point in page if point.payload.get("note") not in stay]
                    store.delete(name, gone)
                self._lock.noted.clear()

    @contextmanager
    def replacing(self, ids: Sequence[str]) -> Iterator[None]:
        """Reopen the documents of those points that are chunks, and hold the lock in the block.

        Args:
            ids: The ids of points that records replace within the block.

        Raises:
            StoreError: A point is a marker or a note of decant.
        """
        held = self._store.retrieve(self._name, ids, _OWNER)
        for point in held:
            if is_own(point):
                raise StoreError(f"the id {point.id!r} belongs to decant itself; choose another")
        owners = _owners(held)
        if not owners:  # writing records needs no lock
            yield
            return
        with self._turn(), self._lock.changing(owners):
            self.reopen(owners)
            yield

    def reopen(self, keys: Iterable[DocumentKey]) -> None:
        """Reopen the closed markers of documents whose chunks change; the lock must be held."""
        ids = [key.marker_id for key in keys]
        held = [Marker.read(p.payload) for p in self._store.retrieve(self._name, ids, MARKER)]
        done = [marker for marker in held if marker.state is State.DONE]
        opened = [Marker(key=marker.key, state=State.CHANGING) for marker in done]
        self._store.upsert(self._name, [marker.point() for marker in opened])

    def _turn(self) -> AbstractContextManager[None]:
        return self._lock.turn.held(self._store, self._name)

    def _passages(self, points: Sequence[Point]) -> int:
        ids = [point.id for point in points]
        if owners := _owners(points):
            with self._lock.changing(owners):
                self.reopen(owners)
                self._store.delete(self._name, ids)
        else:
            self._store.delete(self._name, ids)
        return len(ids)

    def _chunks(self, keys: set[DocumentKey]) -> int:
        removed = 0
        sources = sorted({key.source for key in keys})
        for page in each_with(self._store, self._name, CHUNKS, _OWNER, sources=sources):
            # The same source may lie in several roots, of which only some go.
            ids = [point.id for point in page if DocumentKey.of(point.payload) in keys]
            self._store.delete(self._name, ids)
            removed += len(ids)
        return removed


def _owners(points: Iterable[Point]) -> list[DocumentKey]:
    chunks = (point for point in points if point.payload.get("kind") == Kind.CHUNK)
    return sorted({DocumentKey.of(point.payload) for point in chunks})
