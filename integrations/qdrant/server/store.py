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
from typing import Any, Self

from qdrant_client import models

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
from ..stores.protocol import (
    OptimizeProgress,
    Point,
    Ranking,
    ScoredPoint,
    ScrollPage,
    Select,
    check_name,
    each,
)
from ..stores.queries import Query, WordsQuery, text_of
from ..stores.search_defaults import SearchDefaults
from ..stores.sparse_vector import SparseVector
from .bulk.deferred_index import DeferredIndex, is_noted
from .capabilities import Server, ServerStore
from .changes import RemoteWrites, have_texts
from .collections import OpenCollection, RemoteCatalog
from .limits import Limits, most_ids
from .naming.aliases import RemoteAliases
from .optimize import Patience, wait_for_index
from .point_form import OwnForm, PointForm, Spelling, form_of
from .points import Sent, by_prefix, params_of, to_scored
from .requests import Requests
from .tenants.shard_keys import of_tenant
from .words.remote_words import RemoteWords
from .words.text_index import TEXT_PATH
from .writing.fence import is_tombstone, noticing_tombstones
from .writing.lease import LeaseTimes

_NOTHING = Select(fields=())


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
        self._ask = self._requests.ask
        self._catalog = RemoteCatalog(self._requests)
        self._words = RemoteWords(self._catalog)
        self._forms: defaultdict[str, PointForm] = defaultdict(partial(form_of, None))
        self._deferred = DeferredIndex(self._requests.client, self._ask, self._requests.place)
        self._times = lease or LeaseTimes()
        self._writes = self._writes_of(Owner())

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
        form = self._forms[name]
        if isinstance(form, OwnForm):
            fetch = noticing_tombstones(fetch)

        def send(part: Sequence[str]) -> list[models.Record]:
            request = partial(
                self._client.retrieve,
                name,
                form.ids(part),
                with_payload=form.fields(fetch),
                with_vectors=form.vectors(fetch),
            )
            return self._ask(f"reading from {name!r}", request)

        records = self._requests.in_parts(name, ids, most_ids, send)
        points = (form.point(record) for part in records for record in part)
        return [point for point in points if not is_tombstone(point)]

    def scroll(
        self, name: str, where: Where, fetch: Select, *, limit: int, after: str | None = None
    ) -> ScrollPage:
        """Return up to ``limit`` points that match, in the order of their ids."""
        points: list[Point] = []
        form = self._forms[name]
        start = None if after is None else form.ids([after])[0]

        def send(limits: Limits) -> tuple[list[models.Record], Any]:
            request = partial(
                self._client.scroll,
                name,
                scroll_filter=form.filter(where, limits),
                limit=min(limit - len(points), limits.page),
                offset=start,
                with_payload=form.fields(fetch),
                with_vectors=form.vectors(fetch),
            )
            return self._ask(f"reading from {name!r}", request)

        while True:
            records, start = self._requests.adapting(name, send)
            points += map(form.point, records)
            if start is None or len(points) >= limit:
                return ScrollPage(points=points, after=form.shown_id(start))

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
        end, form = offset + limit, self._forms[name]
        found: dict[str, ScoredPoint] = {}
        if (sent := self._sent(name, query)) is None:
            return []
        value, using = sent

        def send(limits: Limits) -> tuple[int, list[models.ScoredPoint]]:
            size = min(end - offset, limits.page)
            whole = models.QueryRequest(
                params=self._params(name, query, limits),
                filter=None if where is None else form.filter(where, limits),
                limit=size,
                offset=offset,
            )
            prefix, most = self._prefix(name), limits.page
            staged = by_prefix(query, whole, prefix=prefix, end=end, most=most)
            request = partial(
                self._client.query_points,
                name,
                query=value,
                using=using,
                prefetch=staged.prefetch,
                search_params=staged.params,
                query_filter=staged.filter,
                limit=size,
                offset=offset,
                with_payload=form.fields(fetch),
                with_vectors=form.vectors(fetch),
            )
            return size, self._ask(f"searching {name!r}", request).points

        while offset < end:
            size, points = self._requests.adapting(name, send)
            part = to_scored(query, points, form.point)
            if size == limit:
                return part
            for item in part:
                found.setdefault(item.point.id, item)
            offset += size
            if len(part) < size:
                break
        return list(found.values())

    def rank(
        self, name: str, queries: Sequence[Query], *, limit: int, where: Where | None = None
    ) -> list[Ranking]:
        """Return the ids and scores of one ranking per query, in one request where allowed."""
        sent = [self._sent(name, query) for query in queries]
        asked = [(query, item) for query, item in zip(queries, sent, strict=True) if item]

        def send(limits: Limits) -> list[list[models.ScoredPoint]] | None:
            if limit > limits.page or len(asked) > limits.searches:
                return None
            chosen = None if where is None else self._forms[name].filter(where, limits)
            params = partial(self._params, name, limits=limits)
            prefix, most = self._prefix(name), limits.page
            stage = partial(by_prefix, prefix=prefix, end=limit, most=most)
            requests = [
                stage(
                    query,
                    models.QueryRequest(
                        query=value, using=using, params=params(query), filter=chosen, limit=limit
                    ),
                )
                for query, (value, using) in asked
            ]
            request = partial(self._client.query_batch_points, name, requests)
            return [answer.points for answer in self._ask(f"searching {name!r}", request)]

        if (found := self._requests.adapting(name, send) if asked else []) is None:
            pages = [self.query(name, one, _NOTHING, limit=limit, where=where) for one in queries]
        else:
            answers = iter(found)
            pages = [
                [] if item is None else to_scored(query, next(answers), self._forms[name].point)
                for query, item in zip(queries, sent, strict=True)
            ]
        return [[(item.point.id, item.score) for item in page] for page in pages]

    def count(self, name: str, where: Where) -> int:
        """Return exactly how many points match.

        If the server refuses to count exactly, the ids are read, page by page.
        """

        def send(limits: Limits) -> int | None:
            if not limits.exact:
                return None
            chosen = self._forms[name].filter(where, limits)
            request = partial(self._client.count, name, count_filter=chosen, exact=True)
            return self._ask(f"counting in {name!r}", request).count

        if (counted := self._requests.adapting(name, send)) is not None:
            return counted
        return sum(map(len, each(self, name, where, _NOTHING)))

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
            self._client = of_tenant(self._client, owner.tenant)
            self._requests = self._requests.with_client(self._client)
            self._ask = self._requests.ask
        self._writes = self._writes_of(owner)

    def _writes_of(self, owner: Owner) -> RemoteWrites:
        spelling = Spelling(forms=self._forms, words=self._words, prefix=self._prefix)
        return RemoteWrites(self._requests, spelling, self._times, owner)

    def _remember(self, name: str, opened: OpenCollection) -> CollectionMetadata:
        self._words.remember(name, opened.words)
        self._forms[name] = form_of(opened.card.payload_layout)
        return opened.card

    def _sent(self, name: str, query: Query) -> Sent | tuple[models.TextQuery, str] | None:
        """Return a query in the client's form; None for words of which none is left."""
        if text_of(query) is not None:
            self._requests.check_takes_texts()
        if not isinstance(query, WordsQuery):
            return self._forms[name].query(query)
        sent = self._words.of_query(name, query.text)
        if sent is None or isinstance(sent, SparseVector):
            return None if sent is None else self._forms[name].query(sent, words=True)
        return sent, TEXT_PATH

    def _prefix(self, name: str) -> int:
        return self._catalog.known_layout(name).prefix

    def _params(self, name: str, query: Query, limits: Limits) -> models.SearchParams | None:
        if self._server.is_local and not isinstance(query, WordsQuery):
            return None  # local mode heeds the corpus of words alone
        oversampling = self._catalog.known_layout(name).oversampling
        return params_of(query, limits, oversampling=oversampling)
