"""Qdrant Edge as a store: Qdrant's own engine inside this process, over one folder.

How collections lie in the folder is in ``edge_home.py``. One process at a time may have a
collection open. Edge holds Python's lock in every call, which makes calls safe from several
threads; the calls are kept short for the sake of other threads.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self

import qdrant_edge as edge

from decant.embedders import StoreError

from .card import Card
from .conditions import Where, translate
from .edge_filter import EdgeDialect
from .edge_home import EdgeHome
from .edge_points import fields_of, from_edge, to_edge, to_request, vectors_of
from .queries import Query, bounded
from .settings import LEAST_EF, CollectionSettings, FieldType, Indexed
from .store import (
    DENSE,
    KEYWORDS,
    SPARSE,
    STATES,
    Engine,
    Fetch,
    OptimizeProgress,
    Page,
    Point,
    Scored,
    batches,
    slices,
)

_BATCH = 256
_FULL_SCAN_KB = 10_000  # Qdrant's default: below, comparing with all is faster than the graph
_DIALECT = EdgeDialect()
_SCHEMA = {
    FieldType.KEYWORD: edge.PayloadSchemaType.Keyword,
    FieldType.INTEGER: edge.PayloadSchemaType.Integer,
    FieldType.FLOAT: edge.PayloadSchemaType.Float,
    FieldType.BOOL: edge.PayloadSchemaType.Bool,
    FieldType.DATETIME: edge.PayloadSchemaType.Datetime,
    FieldType.TEXT: edge.PayloadSchemaType.Text,
}


class EdgeStore:
    """Collections in a folder; see :class:`Store`.

    Args:
        folder: Where they lie; made when the first collection is.

    Raises:
        StoreError: ``folder`` is a file.
    """

    def __init__(self, folder: str | Path) -> None:
        self._home = EdgeHome(Path(folder).expanduser())
        self._shards: dict[str, edge.EdgeShard] = {}
        self._lock = RLock()
        self._closed = False

    @property
    def engine(self) -> Engine:
        """Edge."""
        return Engine.EDGE

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._home.folder)

    @property
    def identity(self) -> Hashable:
        """The folder, with links followed."""
        return str(self._home.folder.resolve())

    def names(self) -> list[str]:
        """Return the names of the collections in the folder, sorted."""
        return self._home.names()

    def create(self, name: str, card: Card, settings: CollectionSettings) -> None:
        """Make an empty collection."""
        with self._asked(f"making the collection {name!r}"):
            self._home.make(name, card, partial(_build, card=card, settings=settings))

    def card(self, name: str) -> Card:
        """Open the collection and return what it says about itself."""
        with self._asked(f"opening the collection {name!r}"):
            self._shard(name)
        return self._home.card(name)

    def drop(self, name: str) -> None:
        """Delete the collection with its folder; refused while another process has it open."""
        with self._lock, self._asked(f"deleting the collection {name!r}"):
            # Opening takes the lock: what another process has open is not pulled from under it.
            self._shard(name).close()
            del self._shards[name]
            self._home.remove(name)

    def add_index(self, name: str, entry: Indexed) -> None:
        """Index a metadata entry, of points that are there and that come."""
        self._update(name, edge.UpdateOperation.create_field_index(entry.path, _SCHEMA[entry.type]))

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Store points, in order, replacing those of the same id."""
        for part in batches(points, _BATCH):
            self._update(name, edge.UpdateOperation.upsert_points([to_edge(p) for p in part]))

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:
        """Replace the payload fields given, of points that exist; return the ids of the others."""
        held = {point.id for point in self.retrieve(name, [p.id for p in points], Fetch(fields=()))}
        for point in points:
            if point.id in held:
                self._update(name, edge.UpdateOperation.set_payload([point.id], point.payload))
        return [point.id for point in points if point.id not in held]

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete points; ids that are not there are ignored."""
        for part in slices(ids, _BATCH):
            self._update(name, edge.UpdateOperation.delete_points(list(part)))

    def retrieve(self, name: str, ids: Sequence[str], fetch: Fetch) -> list[Point]:
        """Return the points of these ids that exist."""
        found: list[Point] = []
        for part in slices(ids, _BATCH):
            with self._asked(f"reading from {name!r}"):
                records = self._shard(name).retrieve(
                    list(part), fields_of(fetch), vectors_of(fetch)
                )
            found += [from_edge(record) for record in records]
        return found

    def scroll(
        self, name: str, where: Where, fetch: Fetch, *, limit: int, after: str | None = None
    ) -> Page:
        """Return up to ``limit`` points that match, in the order of their ids."""
        request = edge.ScrollRequest(
            offset=after,
            limit=limit,
            filter=self._filter(where),
            with_payload=fields_of(fetch),
            with_vector=vectors_of(fetch),
        )
        with self._asked(f"reading from {name!r}"):
            records, following = self._shard(name).scroll(request)
        return Page(
            points=[from_edge(record) for record in records],
            after=None if following is None else str(following),
        )

    def query(
        self,
        name: str,
        query: Query,
        fetch: Fetch,
        *,
        limit: int,
        offset: int = 0,
        where: Where | None = None,
    ) -> list[Scored]:
        """Return the points that fit the query best, best first."""
        chosen = None if where is None else self._filter(where)
        request = to_request(query, fetch, limit=limit, offset=offset, chosen=chosen)
        with self._asked(f"searching {name!r}"):
            found = self._shard(name).query(request)
        return [Scored(point=from_edge(item), score=bounded(query, item.score)) for item in found]

    def count(self, name: str, where: Where) -> int:
        """Return exactly how many points match."""
        request = edge.CountRequest(exact=True, filter=self._filter(where))
        with self._asked(f"counting in {name!r}"):
            return self._shard(name).count(request)

    def flush(self, name: str) -> None:
        """Write everything out to the disk."""
        with self._asked(f"flushing {name!r}"):
            self._shard(name).flush()

    def optimize(self, name: str, *, progress: OptimizeProgress | None = None) -> None:  # noqa: ARG002
        """Build the vector index and drop what was deleted.

        Nothing else in this process runs meanwhile, because Edge keeps Python's lock.
        """
        with self._asked(f"optimizing {name!r}"):
            self._shard(name).optimize()

    def close(self) -> None:
        """Flush and close all shards; a second call does nothing."""
        with self._lock:
            self._closed = True
            while self._shards:
                name, shard = self._shards.popitem()
                with self._asked(f"closing {name!r}"):
                    shard.flush()
                    shard.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    def _shard(self, name: str) -> edge.EdgeShard:
        with self._lock:
            if self._closed:
                raise StoreError(f"the store {self.place} is closed; connect again")
            if (shard := self._shards.get(name)) is None:
                shard = edge.EdgeShard.load(str(self._home.shard(name)))
                self._shards[name] = shard
            return shard

    def _update(self, name: str, operation: edge.UpdateOperation) -> None:
        with self._asked(f"writing to {name!r}"):
            self._shard(name).update(operation)

    def _filter(self, where: Where) -> edge.Filter:
        with self._asked("reading the filter"):
            return _DIALECT.join(must=[translate(where, _DIALECT)])

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        """Turn what Edge raises, which is bare ``Exception``, into ``StoreError``."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            if "WouldBlock" in str(error):
                raise StoreError(
                    f"{what} failed: the collection in {self.place} is locked, because another "
                    "process (or another connect() in this one) has it open; close that first, "
                    "or use a Qdrant server to share a collection"
                ) from error
            raise StoreError(f"{what} in {self.place} failed: {error}") from error


def _dense_params(card: Card) -> dict[str, edge.EdgeVectorParams]:
    params = {DENSE: edge.EdgeVectorParams(size=card.dim, distance=edge.Distance.Cosine)}
    if card.states is not None:
        params[STATES] = edge.EdgeVectorParams(
            size=card.states,
            distance=edge.Distance.Dot,  # Cosine would store them normalised
            multivector_config=edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim),
            hnsw_config=edge.HnswIndexConfig(
                m=0, ef_construct=LEAST_EF, full_scan_threshold=_FULL_SCAN_KB
            ),
            memory=edge.Memory.Cold,
        )
    return params


def _build(path: Path, *, card: Card, settings: CollectionSettings) -> None:
    config = edge.EdgeConfig(
        vectors=_dense_params(card),
        # No IDF modifier: the weights are the model's, which has learned what is rare.
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams()} if card.sparse else None,
        hnsw_config=edge.HnswIndexConfig(
            m=settings.hnsw_m,
            ef_construct=settings.hnsw_ef_construct,
            full_scan_threshold=_FULL_SCAN_KB,
        ),
    )
    shard = edge.EdgeShard.create(str(path), config)
    fields = dict.fromkeys(KEYWORDS, FieldType.KEYWORD)
    fields |= {item.path: item.type for item in settings.indexed}
    for field, kind in fields.items():
        shard.update(edge.UpdateOperation.create_field_index(field, _SCHEMA[kind]))
    shard.flush()
    shard.close()
