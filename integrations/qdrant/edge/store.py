"""Qdrant Edge as a store: Qdrant's own engine inside this process, over one folder.

``folder.py`` has the layout of the folder, ``shards.py`` the open shards. One process at a time may
have a collection open; the stores of a process share it. Edge holds Python's lock in every call,
which makes calls safe from several threads; calls are kept short, so that other threads can run.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from threading import RLock

import qdrant_edge as edge

from decant.embedders import StoreError

from ..coroutines.async_close import AsyncClose
from ..stores.aliases import FoundCollection
from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import CollectionSettings, Layout, PayloadIndex, StoredLayout
from ..stores.filters import Where
from ..stores.point_size import batches
from ..stores.protocol import (
    Engine,
    OptimizeProgress,
    Point,
    Ranking,
    ScoredPoint,
    ScrollPage,
    Select,
    slices,
)
from ..stores.queries import Query, bounded
from ..stores.search_defaults import SearchDefaults
from ..stores.translation.translate import translate
from .aliases import EdgeAliases
from .disk_space import check_room
from .errors import EngineErrors, dropped, forked
from .filters import EdgeDialect
from .folder import EdgeHome
from .layouts import check_layout
from .points import (
    check_vectors,
    fields_of,
    from_edge,
    set_payload,
    to_request,
    to_scored,
    to_upsert,
    vectors_of,
)
from .private_copy import allocated_bytes, refuse_write
from .schema import build_shard, index_field, vector_params
from .shards import (
    OpenShard,
    load_again,
    no_fork,
    open_shard,
    release_all,
    release_shard,
    remove_shard,
)

_IDS = Select(fields=())
_BATCH = 256
_DIALECT = EdgeDialect()


class EdgeStore(AsyncClose):
    """Collections in a folder; see :class:`Store`.

    It belongs to the process that connected it: in a forked child every method refuses, and closing
    does nothing. A read-only collection is searched in a private copy. Free disk space is checked
    before each write, because the engine cannot report a full disk.

    Args:
        folder: The folder of the collections; it is created with the first collection.

    Raises:
        StoreError: ``folder`` is a file.
    """

    def __init__(self, folder: str | Path) -> None:
        given = Path(folder).expanduser()
        self._home = EdgeHome(given)
        self._place = str(given)
        self._shards: dict[str, OpenShard] = {}
        self._lock = RLock()
        self._closed = False
        self._process = os.getpid()
        self._aliases = EdgeAliases(self._home, self._between_writes, self._shard)
        weakref.finalize(self, release_all, self._shards, self._place, self._process)

    @property
    def engine(self) -> Engine:
        """Edge."""
        return Engine.EDGE

    @property
    def place(self) -> str:
        """The folder."""
        return self._place

    @property
    def identity(self) -> Hashable:
        """The folder, with links followed."""
        return str(self._home.folder.resolve())

    @property
    def aliases(self) -> EdgeAliases:
        """The aliases in the folder, and the notes of migrations."""
        self._check()
        return self._aliases

    def names(self) -> list[str]:
        """Return the names of the collections in the folder and their aliases, sorted."""
        self._check()
        return self._home.names()

    def create(self, name: str, card: CollectionMetadata, settings: CollectionSettings) -> None:
        """Make an empty collection."""
        what = f"making the collection {name!r}"
        self._check()
        check_layout(settings)
        with self._lock, EngineErrors(what, self.place), no_fork():
            check_room(self._home.folder, what)
            self._home.make(name, card, partial(build_shard, card=card, settings=settings))
            self._forget_replaced(name)

    def card(self, name: str) -> CollectionMetadata:
        """Open the collection and return its metadata."""
        what = f"opening the collection {name!r}"
        self._check()
        advice = (
            "; if its files are damaged, restore them from a copy, or delete the collection with "
            f"store.drop({name!r}) (`decant drop {name}`) and index again"
        )
        with EngineErrors(what, self.place, advice):
            with self._lock:
                self._forget_replaced(name)
                self._shard(name, what)
            return self._home.card(name)

    def find(self, name: str) -> FoundCollection:
        """Open the collection that a name means."""
        self._check()
        real = self._aliases.resolve(name)
        card = self.card(real).checked_complete(name, self.place)
        return FoundCollection(name=real, card=card)

    def drop(self, name: str) -> None:
        """Delete the collection with its folder; refused while another process has it open.

        A damaged collection can be deleted, too. Other stores of this process lose it.
        """
        what = f"deleting the collection {name!r}"
        self._check()
        with self._lock, EngineErrors(what, self.place):
            folder = self._home.remains(name)
            self._aliases.forget(name)
            remove_shard(folder, partial(self._home.remove, name), what, self.place)
            self._shards.pop(name, None)

    def set_search_defaults(self, name: str, defaults: SearchDefaults | None) -> None:
        """Replace the search defaults in the collection's metadata; None removes them."""
        with self._writing(name, f"keeping how {name!r} is searched"):
            self._home.set_search_defaults(name, defaults)

    def add_index(self, name: str, entry: PayloadIndex) -> None:
        """Index a metadata entry of present and future points."""
        with self._writing(name, f"indexing {entry.path!r} in {name!r}") as shard:
            shard.update(index_field(entry))

    def layout(self, name: str) -> StoredLayout:
        """Return how the engine stores the collection."""
        return self.open_shard(name).layout

    def open_shard(self, name: str) -> OpenShard:
        """Return the open shard, for work that is not a store's, such as a diagnosis."""
        what = f"opening the collection {name!r}"
        with EngineErrors(what, self.place):
            return self._shard(name, what)

    def relayout(self, name: str, layout: Layout) -> None:
        """Change how the collection is stored, and rewrite it; see :meth:`optimize`."""
        check_layout(layout)
        with self._turn(name, f"changing the layout of {name!r}", rewrites=True) as shard:
            shard.layout.check_change(layout, f"{name!r} in {self.place}")
            wanted = shard.layout.after(layout)
            if wanted != shard.layout:
                params = vector_params(self._home.card(name), wanted)
                load_again(shard, edge.EdgeConfig(vectors=params))
            shard.engine.optimize()

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Store points, in order, replacing those of the same id."""
        check_vectors(points)
        prefix = self.layout(name).prefix if points else 0
        for part in batches(points, _BATCH):
            operation = to_upsert(part, prefix)
            with self._writing(name, f"writing to {name!r}") as shard:
                shard.update(operation)

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:
        """Replace the given payload fields of points; return the ids that do not exist."""
        missing: list[str] = []
        for part in slices(points, _BATCH):
            with self._writing(name, f"writing to {name!r}") as shard:
                missing += [point.id for point in part if not set_payload(shard, point)]
        return missing

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are ignored."""
        for part in slices(ids, _BATCH):
            with self._writing(name, f"deleting from {name!r}") as shard:
                shard.update(edge.UpdateOperation.delete_points(list(part)))

    def retrieve(self, name: str, ids: Sequence[str], fetch: Select) -> list[Point]:
        """Return the points of these ids that exist."""
        found: list[Point] = []
        for part in slices(ids, _BATCH):
            with self._reading(name, f"reading from {name!r}") as shard:
                records = shard.retrieve(list(part), fields_of(fetch), vectors_of(fetch))
            found += [from_edge(record) for record in records]
        return found

    def scroll(
        self, name: str, where: Where, fetch: Select, *, limit: int, after: str | None = None
    ) -> ScrollPage:
        """Return up to ``limit`` points that match, in the order of their ids."""
        request = edge.ScrollRequest(
            offset=after,
            limit=limit,
            filter=self._filter(where),
            with_payload=fields_of(fetch),
            with_vector=vectors_of(fetch),
        )
        with self._reading(name, f"reading from {name!r}") as shard:
            records, following = shard.scroll(request)
        return ScrollPage(
            points=[from_edge(record) for record in records],
            after=None if following is None else str(following),
        )

    def query(
        self,
        name: str,
        query: Query,
        fetch: Select,
        *,
        limit: int,
        offset: int = 0,
        where: Where | None = None,
    ) -> list[ScoredPoint]:
        """Return the points that fit the query best, best first."""
        request = to_request(
            query,
            fetch,
            limit=limit,
            offset=offset,
            chosen=None if where is None else self._filter(where),
            layout=self.layout(name),
        )
        with self._reading(name, f"searching {name!r}") as shard:
            found = shard.query(request)
        return to_scored(query, found)

    def rank(
        self, name: str, queries: Sequence[Query], *, limit: int, where: Where | None = None
    ) -> list[Ranking]:
        """Return the ids and scores of one ranking per query, best first, in one call."""
        chosen = None if where is None else self._filter(where)
        to = partial(to_request, limit=limit, layout=self.layout(name))
        requests = [to(query, _IDS, chosen=chosen) for query in queries]
        with self._reading(name, f"searching {name!r}") as shard:
            found = shard.query_batch(edge.QueryBatchRequest(requests))
        rankings = []
        for query, ranking in zip(queries, found, strict=True):
            scores = bounded(query, [item.score for item in ranking])
            ids = [str(item.id) for item in ranking]
            rankings.append(list(zip(ids, scores, strict=True)))
        return rankings

    def count(self, name: str, where: Where) -> int:
        """Return exactly how many points match."""
        request = edge.CountRequest(exact=True, filter=self._filter(where))
        with self._reading(name, f"counting in {name!r}") as shard:
            return shard.count(request)

    def missing_indexes(self, name: str) -> list[str]:  # noqa: ARG002 - a server's may be missing
        """Return none: a collection is made with its indexes, or not at all."""
        self._check()
        return []

    def list_limit(self, name: str) -> int:  # noqa: ARG002 - a server's differs by collection
        """Return how many values one condition of a filter may list: any number."""
        return sys.maxsize

    def flush(self, name: str) -> None:
        """Write everything out to the disk."""
        what = f"flushing {name!r}"
        with EngineErrors(what, self.place), (shard := self._shard(name, what)).turns.writing():
            shard.engine.flush()

    def optimize(self, name: str, *, progress: OptimizeProgress | None = None) -> None:  # noqa: ARG002
        """Build the vector index and drop deleted points.

        No other Python thread of this process runs meanwhile, because Edge keeps Python's lock. It
        needs as much free disk space as the collection takes, because it rewrites the collection.
        """
        with self._turn(name, f"optimizing {name!r}", rewrites=True) as shard:
            shard.engine.optimize()

    def close(self) -> None:
        """Flush and close shards that no other store of this process uses; idempotent."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._closed = True
            release_all(self._shards, self.place, self._process)

    def __repr__(self) -> str:
        """Return the class and the folder."""
        return f"EdgeStore({self.place!r})"

    @contextmanager
    def _reading(self, name: str, what: str) -> Iterator[edge.EdgeShard]:
        with EngineErrors(what, self.place), (shard := self._shard(name, what)).turns.reading():
            yield shard.engine

    @contextmanager
    def _writing(self, name: str, what: str) -> Iterator[edge.EdgeShard]:
        with self._turn(name, what, rewrites=False) as shard:
            yield shard.engine

    @contextmanager
    def _turn(self, name: str, what: str, *, rewrites: bool) -> Iterator[OpenShard]:
        with EngineErrors(what, self.place):
            shard = self._shard(name, what)
            if shard.copy is not None:
                raise refuse_write(what, self.place)
            needed = allocated_bytes(shard.folder) if rewrites else 0
            check_room(shard.folder, what, needed=needed)
            with shard.turns.writing():
                self._aliases.check_open(name)
                yield shard

    def _between_writes(self, name: str) -> AbstractContextManager[None]:
        return self._shard(name, f"changing what {name!r} means").turns.writing()

    def _check(self) -> None:
        if self._process != (process := os.getpid()):
            raise forked(self.place, self._process, process)
        if self._closed:
            raise StoreError(f"the store {self.place} is closed; connect again")

    def _shard(self, name: str, what: str) -> OpenShard:
        self._check()
        shard = self._shards.get(name)
        if shard is not None and not shard.is_closed:
            return shard
        with self._lock:
            self._check()
            shard = self._shards.get(name)
            if shard is not None and shard.is_dropped:
                raise dropped(name, self.place)
            if shard is None or shard.is_closed:
                shard = open_shard(self._home.shard(name), what, self.place)
                self._shards[name] = shard
            return shard

    def _forget_replaced(self, name: str) -> None:
        """Close the shard of this name if its folder holds another shard by now, or none."""
        shard = self._shards.get(name)
        if shard is not None and not shard.is_current(self._home.folder / name / "shard"):
            del self._shards[name]
            release_shard(shard)

    def _filter(self, where: Where) -> edge.Filter:
        with EngineErrors("reading the filter", self.place):
            return _DIALECT.join(must=[translate(where, _DIALECT)])
