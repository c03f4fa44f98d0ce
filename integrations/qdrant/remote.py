"""A Qdrant server as a store, through qdrant-client.

Invariant: what a method has returned from is applied on the server.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from qdrant_client import models

from decant.embedders import StoreError

from .card import Card
from .conditions import Where, translate
from .queries import Query
from .remote_filter import RemoteDialect
from .remote_points import fields_of, from_record, to_change, to_search, to_struct, vectors_of
from .server import Server
from .settings import CollectionSettings, FieldType, Indexed
from .store import (
    DENSE,
    KEYWORDS,
    SPARSE,
    STATES,
    Engine,
    Fetch,
    Page,
    Point,
    Scored,
    absent,
    batches,
    check_name,
    present,
    slices,
)

_BATCH = 128
_IDS = 1_000
_CARD, _INDEXES = "decant", "decant_indexes"
_DIALECT = RemoteDialect()
# A lagging replica must not make a document look new, or what it had before would stay for ever.
_STEADY = models.ReadConsistencyType.MAJORITY


class RemoteStore:
    """Collections on a server; see :class:`Store`.

    Args:
        server: The connection; :meth:`close` closes it.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._client = server.client
        self._ask = server.ask

    @property
    def engine(self) -> Engine:
        """A server."""
        return Engine.REMOTE

    @property
    def place(self) -> str:
        """The address."""
        return self._server.place

    @property
    def identity(self) -> Hashable:
        """The address without credentials; of the client's local mode, the client itself."""
        return self._server.identity

    def names(self) -> list[str]:
        """Return the names of all collections on the server, sorted."""
        found = self._ask("listing the collections", self._client.get_collections)
        return sorted(item.name for item in found.collections)

    def create(self, name: str, card: Card, settings: CollectionSettings) -> None:
        """Make an empty collection with its card; its payload indexes follow at once."""
        check_name(name)
        if self._has(name):
            raise present(name, self.place)
        indexes = dict.fromkeys(KEYWORDS, FieldType.KEYWORD)
        indexes |= {item.path: item.type for item in settings.indexed}
        request = partial(
            self._client.create_collection,
            name,
            vectors_config=_dense_params(card),
            # No IDF modifier: the weights are the model's, which has learned what is rare.
            sparse_vectors_config={SPARSE: models.SparseVectorParams()} if card.sparse else None,
            hnsw_config=models.HnswConfigDiff(
                m=settings.hnsw_m, ef_construct=settings.hnsw_ef_construct
            ),
            metadata={
                _CARD: card.to_json(),
                _INDEXES: {path: kind.value for path, kind in indexes.items()},
            },
        )
        try:
            self._ask(f"making the collection {name!r}", request)
        except StoreError:
            # If an answer got lost, the next attempt was told that it exists: with our mark.
            if not self._has(name):
                raise
        if self.card(name).mark != card.mark:
            raise present(name, self.place)

    def card(self, name: str) -> Card:
        """Return what the collection says about itself, and complete its payload indexes.

        They are missing where a creator was interrupted.
        """
        check_name(name)
        if not self._has(name):
            raise absent(name, self.place, self.names())
        info = self._ask(f"opening {name!r}", partial(self._client.get_collection, name))
        metadata = info.config.metadata or {}
        if _CARD not in metadata:
            raise StoreError(
                f"the collection {name!r} at {self.place} has no card in its metadata, so it was "
                "not made by decant; choose another name"
            )
        for path, kind in metadata[_INDEXES].items():
            if path not in info.payload_schema:
                self._index(name, path, FieldType(kind))
        return Card.from_json(str(metadata[_CARD]), where=f"collection {name!r} at {self.place}")

    def drop(self, name: str) -> None:
        """Delete the collection with all it holds."""
        self.card(name)
        self._ask(f"deleting {name!r}", partial(self._client.delete_collection, name))

    def add_index(self, name: str, entry: Indexed) -> None:
        """Index a metadata entry, of points that are there and that come."""
        info = self._ask(f"opening {name!r}", partial(self._client.get_collection, name))
        indexes = {**(info.config.metadata or {})[_INDEXES], entry.path: entry.type.value}
        noted = partial(self._client.update_collection, name, metadata={_INDEXES: indexes})
        self._ask(f"indexing {entry.path!r} in {name!r}", noted)
        self._index(name, entry.path, entry.type)

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Store points, in order, replacing those of the same id."""
        for part in batches(points, _BATCH):
            structs = [to_struct(point) for point in part]
            self._ask(f"writing to {name!r}", partial(self._client.upsert, name, structs))

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:
        """Replace the payload fields given, of points that exist; return the ids of the others."""
        held = {point.id for point in self.retrieve(name, [p.id for p in points], Fetch(fields=()))}
        for part in slices([point for point in points if point.id in held], _BATCH):
            changes = [to_change(point) for point in part]
            request = partial(self._client.batch_update_points, name, changes)
            self._ask(f"writing to {name!r}", request)
        return [point.id for point in points if point.id not in held]

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete points; ids that are not there are ignored."""
        for part in slices(ids, _IDS):
            chosen = models.PointIdsList(points=list(part))
            self._ask(f"deleting from {name!r}", partial(self._client.delete, name, chosen))

    def retrieve(self, name: str, ids: Sequence[str], fetch: Fetch) -> list[Point]:
        """Return the points of these ids that exist."""
        found: list[Point] = []
        for part in slices(ids, _IDS):
            request = partial(
                self._client.retrieve,
                name,
                list(part),
                with_payload=fields_of(fetch),
                with_vectors=vectors_of(fetch),
                consistency=_STEADY,
            )
            found += map(from_record, self._ask(f"reading from {name!r}", request))
        return found

    def scroll(
        self, name: str, where: Where, fetch: Fetch, *, limit: int, after: str | None = None
    ) -> Page:
        """Return up to ``limit`` points that match, in the order of their ids."""
        request = partial(
            self._client.scroll,
            name,
            scroll_filter=_filter(where),
            limit=limit,
            offset=after,
            with_payload=fields_of(fetch),
            with_vectors=vectors_of(fetch),
            consistency=_STEADY,
        )
        records, following = self._ask(f"reading from {name!r}", request)
        return Page(
            points=[from_record(record) for record in records],
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
        chosen = None if where is None else _filter(where)
        search = to_search(query, limit=limit, offset=offset, chosen=chosen)
        request = partial(
            self._client.query_points,
            name,
            query=search.query,
            using=search.using,
            prefetch=search.prefetch,
            query_filter=search.filter,
            limit=limit,
            offset=offset,
            with_payload=fields_of(fetch),
            with_vectors=vectors_of(fetch),
        )
        found = self._ask(f"searching {name!r}", request).points
        return [Scored(point=from_record(item), score=item.score) for item in found]

    def count(self, name: str, where: Where) -> int:
        """Return exactly how many points match."""
        request = partial(self._client.count, name, count_filter=_filter(where), exact=True)
        return self._ask(f"counting in {name!r}", request).count

    def flush(self, name: str) -> None:
        """Do nothing: a server has written its log before it answers."""

    def optimize(self, name: str) -> None:
        """Do nothing: a server builds its index by itself."""

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._server.close()

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

    def _index(self, name: str, path: str, kind: FieldType) -> None:
        if self._server.is_local:
            return  # it has no payload indexes, and warns of every attempt
        schema = models.PayloadSchemaType(kind.value)
        request = partial(self._client.create_payload_index, name, path, field_schema=schema)
        self._ask(f"indexing {path!r} in {name!r}", request)

    def _has(self, name: str) -> bool:
        return self._ask(f"looking for {name!r}", partial(self._client.collection_exists, name))


def _dense_params(card: Card) -> dict[str, models.VectorParams]:
    params = {DENSE: models.VectorParams(size=card.dim, distance=models.Distance.COSINE)}
    if card.states is not None:
        params[STATES] = models.VectorParams(
            size=card.states,
            distance=models.Distance.DOT,  # COSINE would store them normalised
            multivector_config=models.MultiVectorConfig(
                comparator=models.MultiVectorComparator.MAX_SIM
            ),
            hnsw_config=models.HnswConfigDiff(m=0),
            on_disk=True,
        )
    return params


def _filter(where: Where) -> models.Filter:
    return _DIALECT.join(must=[translate(where, _DIALECT)])
