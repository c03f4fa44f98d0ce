"""A Qdrant server as a store, through qdrant-client.

Reads use the server's default consistency. A write that returned is on every replica that still
answers reads, because the server takes a replica that missed it out of service before it answers.
Reads with an explicit majority would need every replica, so one lost node would end all reads.

Requests stay within the server's limits (``limits.py``): pages, batches and lists of a collection
shrink when it names its limit. Invariant: a write that returned is applied on the server, and so
survives the end of the server's process.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Self

from ..coroutines.run_now import run_now
from ..coroutines.threads import run_in_thread
from ..stores.aliases import FoundCollection
from ..stores.changes import (
    Change,
    DeferringStore,
    Lease,
    LeasingStore,
    OrderedStore,
    Owner,
    carry_out,
)
from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import CollectionSettings, Layout, PayloadIndex, StoredLayout
from ..stores.filters import Where
from ..stores.input_errors import check_name
from ..stores.protocol import OptimizeProgress, Point, Ranking, ScoredPoint, ScrollPage, Select
from ..stores.queries import Query
from ..stores.search_defaults import SearchDefaults
from .bulk.deferred_index import DeferredIndex, is_noted
from .capabilities import Server, ServerStore
from .changes import RemoteWrites, have_texts
from .collections import OpenCollection, RemoteCatalog
from .naming.aliases import RemoteAliases
from .optimize import Patience, wait_for_index
from .point_form import PointForm, Spelling, form_of
from .reads import RemoteReads
from .requests import Requests
from .tenants.shard_keys import of_tenant
from .words.remote_words import RemoteWords
from .writing.lease import LeaseTimes


class RemoteStore(ServerStore, OrderedStore, LeasingStore, DeferringStore):
    """Collections on a server; see :class:`Store`.

    A collection opens by an alias as by its name, and all work is done on the collection itself.

    Args:
        server: The connection; :meth:`close` closes it.
        patience: How long :meth:`optimize` waits.
        lease: How long the right to write lasts, and how long it is waited for.
    """

    def __init__(
        self,
        server: Server,
        *,
        patience: Patience | None = None,
        lease: LeaseTimes | None = None,
    ) -> None:
        super().__init__(server)
        self._client = server.client
        self._patience = patience or Patience()
        self._requests = Requests(server)
        self._catalog = RemoteCatalog(self._requests)
        self._words = RemoteWords(self._catalog)
        self._forms: defaultdict[str, PointForm] = defaultdict(partial(form_of, None))
        self._deferred = DeferredIndex(
            self._requests.client, self._requests.ask, self._requests.place
        )
        self._times = lease or LeaseTimes()
        self._spelling = Spelling(forms=self._forms, words=self._words, prefix=self._prefix)
        self._writes = RemoteWrites(self._requests, self._spelling, self._times, Owner())
        self._reads = RemoteReads(self._requests, self._catalog, self._spelling)
        self._tenant: str | None = None  # whose shards the requests go to
        self._looked_at: set[str] = set()

    def of_owner(self, owner: Owner, *, has_shards: bool) -> Self:
        """Return this store for the points of one tenant; see :class:`TenantsStore`."""
        other = copy.copy(self)  # which shares what is known of collections
        other._take(owner, has_shards=has_shards)  # noqa: SLF001 - it is of this class
        return other

    @property
    def requests(self) -> Requests:
        """What sends the requests, for work that is not a store's, such as a diagnosis."""
        return self._requests

    def names(self) -> list[str]:
        """Return the names of decant's collections on the server and their aliases, sorted."""
        return self._catalog.names()

    def create(self, name: str, card: CollectionMetadata, settings: CollectionSettings) -> None:
        """Create an empty collection with its indexes; nothing, if there may not be so many."""
        check_name(name)
        self._remember(name, self._catalog.create(name, card, settings))

    def find(self, name: str) -> FoundCollection:
        """Open the collection that a name means."""
        check_name(name)
        opened = self._catalog.find(name)
        card = self._remember(opened.name, opened).checked_complete(name, self.place)
        return FoundCollection(name=opened.name, card=card)

    @property
    def aliases(self) -> RemoteAliases:
        """The aliases on the server, and the notes of migrations."""
        return self._catalog.aliases

    def card(self, name: str) -> CollectionMetadata:
        """Return the collection's metadata, and make missing payload indexes, if that is allowed.

        Indexes are missing if a creator was interrupted; without them filters are slower.
        """
        check_name(name)
        return self._remember(name, self._catalog.open(name))

    def adopt(self, name: str, card: CollectionMetadata) -> None:
        """Give a collection that another program made its metadata; fails if it has some."""
        check_name(name)
        self._remember(name, self._catalog.adopt(name, card))

    def drop(self, name: str) -> None:
        """Delete the collection with all its points, even if its metadata are damaged.

        An alias is refused, and so is a collection that decant did not make.
        """
        check_name(name)
        self._catalog.drop(name)
        self._words.forget(name)
        self._writes.forget(name)
        self._forms.pop(name, None)
        self._looked_at.discard(name)

    def set_search_defaults(self, name: str, defaults: SearchDefaults | None) -> None:
        """Replace the search defaults in the collection's metadata; None removes them."""
        self._catalog.set_search_defaults(name, defaults)

    def add_index(self, name: str, entry: PayloadIndex) -> None:
        """Index a metadata entry of present and future points."""
        self._catalog.add_index(name, self._forms[name].path(entry.path), entry.type)

    def layout(self, name: str) -> StoredLayout:
        """Return how the server stores the collection, as it reports it now."""
        return self._catalog.layout(name)

    def relayout(self, name: str, layout: Layout) -> None:
        """Change how the server stores the collection, and wait as :meth:`optimize` does."""
        self._catalog.relayout(name, layout)
        self.optimize(name)

    def missing_indexes(self, name: str) -> list[str]:
        """Return the paths of the payload indexes that the collection should have and lacks."""
        return self._catalog.missing_indexes(name)

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Store points, in order, replacing those of the same id.

        Raises:
            StoreError: A single point is larger than a request may be; then none is stored.
            StoreInputError: A point has texts in place of vectors, and no server is asked.
        """
        with self.aliases.writing(name):
            self._writes.upsert(name, points)

    def change_in_order(self, name: str, changes: Sequence[Change]) -> None:
        """Carry out changes in order; see :func:`stores.changes.change_in_order`."""
        if not self._server.is_local and not have_texts(changes):
            with self.aliases.writing(name):
                self._writes.change_in_order(name, changes)
            return
        for change in changes:
            carry_out(self, name, change)

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:
        """Replace the given payload fields of points; return the ids that do not exist."""
        with self.aliases.writing(name):
            return self._writes.set_fields(name, points)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are ignored."""
        with self.aliases.writing(name):
            self._writes.delete(name, ids)

    def lease(self, name: str, mark: str) -> Lease | None:
        """Wait until no other process indexes or deletes; see :meth:`LeasingStore.lease`."""
        return self._writes.lease(name, mark)

    def write_under(self, name: str, lease: Lease | None) -> None:
        """Let writes to the collection be those of the lease, until it ends."""
        self._writes.write_under(name, lease)

    def retrieve(self, name: str, ids: Sequence[str], fetch: Select) -> list[Point]:
        """Return the points of these ids that exist."""
        return run_now(self._reads.retrieve(name, ids, fetch))

    def scroll(
        self, name: str, where: Where, fetch: Select, *, limit: int, after: str | None = None
    ) -> ScrollPage:
        """Return up to ``limit`` points that match, in the order of their ids."""
        return run_now(self._reads.scroll(name, where, fetch, limit=limit, after=after))

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
        """Return the points that fit the query best, best first.

        If the server limits the points of one request, longer lists are read in pages, which may
        repeat or lose points of equal score.
        """
        found = self._reads.query(name, query, fetch, limit=limit, offset=offset, where=where)
        return run_now(found)

    def rank(
        self, name: str, queries: Sequence[Query], *, limit: int, where: Where | None = None
    ) -> list[Ranking]:
        """Return the ids and scores of one ranking per query, in one request where allowed."""
        return run_now(self._reads.rank(name, queries, limit=limit, where=where))

    def count(self, name: str, where: Where) -> int:
        """Return exactly how many points match.

        If the server refuses to count exactly, the ids are read, page by page.
        """
        return run_now(self._reads.count(name, where))

    async def loop_reads(self, name: str) -> RemoteReads | None:
        """Return what reads a collection from the running event loop; None: threads have to."""
        if name not in self._looked_at:
            await run_in_thread(self._look_at, name)
        server = await self._server.in_loop()
        if server is None:
            return None
        if self._tenant is not None:
            server = server.with_client(of_tenant(server.client, self._tenant))
        return self._reads.through(self._requests.through(server))

    def list_limit(self, name: str) -> int:
        """Return how many values one condition of a filter may list."""
        return self._requests.limits(name).values

    def flush(self, name: str) -> None:
        """Do nothing: acknowledged writes are in the server's log; see :meth:`Store.flush`."""

    def optimize(self, name: str, *, progress: OptimizeProgress | None = None) -> None:
        """Wait until the server has built the vector index, an hour at most."""
        if self._server.is_local:
            return  # local mode always searches exactly
        wait = partial(wait_for_index, self._requests, name, self._patience, progress=progress)
        if is_noted(wait().config.metadata or {}):
            self._deferred.build(name)  # which a bulk load left, whose process was killed
            wait()

    def defer_index(self, name: str) -> None:
        """Build no vector index of a collection until :meth:`build_deferred`."""
        if not self._server.is_local:
            self._deferred.defer(name)

    def build_deferred(self, name: str) -> bool:
        """Let the server build the vector index, and return whether it was deferred."""
        return not self._server.is_local and self._deferred.build(name)

    def is_deferred(self, name: str) -> bool:
        """Return whether it was deferred when the collection was last looked at."""
        return is_noted(self.aliases.last_read.get(name, {}))

    def _take(self, owner: Owner, *, has_shards: bool) -> None:
        """Be the store of a tenant's points from now on."""
        if has_shards and owner.tenant is not None:
            self._tenant = owner.tenant
            self._client = of_tenant(self._client, owner.tenant)
            self._requests = self._requests.with_client(self._client)
            self._reads = self._reads.through(self._requests)
        self._writes = RemoteWrites(self._requests, self._spelling, self._times, owner)

    def _look_at(self, name: str) -> None:
        """Ask what searches need to know of a collection, as far as that was not asked before."""
        if not self._words.knows(name):
            self.card(name)
        self._catalog.known_layout(name)
        self._looked_at.add(name)

    def _remember(self, name: str, opened: OpenCollection) -> CollectionMetadata:
        self._words.remember(name, opened.words)
        self._forms[name] = form_of(opened.card.payload_layout)
        return opened.card

    def _prefix(self, name: str) -> int:
        return self._catalog.known_layout(name).prefix
