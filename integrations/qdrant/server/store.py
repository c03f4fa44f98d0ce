"""A Qdrant server as a store, through qdrant-client.

Reads use the server's default consistency. A write that returned is on every replica that still
answers reads, because the server takes a replica that missed it out of service before it answers.
Reads with an explicit majority would need every replica, so one lost node would end all reads.

Requests stay within the server's limits (``limits.py``): pages, batches and lists of a collection
shrink when it names its limit. Invariant: a write that returned is applied on the server, and so
survives the end of the server's process.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from qdrant_client import models

from ..stores.aliases import FoundCollection
from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import CollectionSettings, Layout, PayloadIndex, StoredLayout
from ..stores.filters import Where
from ..stores.protocol import (
    Engine,
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
from .capabilities import Server
from .collections import RemoteCatalog
from .filters import to_filter
from .limits import Limits, ids_of, writes_of
from .naming.aliases import RemoteAliases
from .optimize import Patience, wait_for_index
from .points import (
    cut_writes,
    fields_of,
    from_record,
    params_of,
    to_query,
    to_scored,
    to_struct,
    vectors_of,
)
from .requests import Requests
from .set_payload import set_together
from .words.remote_words import RemoteWords
from .words.text_index import TEXT_PATH

_NOTHING = Select(fields=())


class RemoteStore:
    """Collections on a server; see :class:`Store`.

    A collection opens by an alias as by its name, and all work is done on the collection itself.

    Args:
        server: The connection; :meth:`close` closes it.
        patience: How long :meth:`optimize` waits.
    """

    def __init__(self, server: Server, *, patience: Patience | None = None) -> None:
        self._server = server
        self._client = server.client
        self._patience = patience or Patience()
        self._requests = Requests(server)
        self._ask = self._requests.ask
        self._catalog = RemoteCatalog(self._requests)
        self._words = RemoteWords(self._catalog)

    @property
    def requests(self) -> Requests:
        """What sends the requests, for work that is not a store's, such as a diagnosis."""
        return self._requests

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
        """Return the names of decant's collections on the server and their aliases, sorted."""
        return self._catalog.names()

    def create(self, name: str, card: CollectionMetadata, settings: CollectionSettings) -> None:
        """Create an empty collection with its indexes; nothing, if there may not be so many."""
        check_name(name)
        self._words.remember(name, self._catalog.create(name, card, settings).words)

    def find(self, name: str) -> FoundCollection:
        """Open the collection that a name means."""
        check_name(name)
        opened = self._catalog.find(name)
        self._words.remember(opened.name, opened.words)
        return FoundCollection(name=opened.name, card=opened.card)

    @property
    def aliases(self) -> RemoteAliases:
        """The aliases on the server, and the notes of migrations."""
        return self._catalog.aliases

    def card(self, name: str) -> CollectionMetadata:
        """Return the collection's metadata, and make missing payload indexes, if that is allowed.

        Indexes are missing if a creator was interrupted; without them filters are slower.
        """
        check_name(name)
        opened = self._catalog.open(name)
        self._words.remember(name, opened.words)
        return opened.card

    def drop(self, name: str) -> None:
        """Delete the collection with all its points, even if its metadata are damaged.

        An alias is refused, and so is a collection that decant did not make.
        """
        check_name(name)
        self._catalog.drop(name)
        self._words.forget(name)

    def set_search_defaults(self, name: str, defaults: SearchDefaults | None) -> None:
        """Replace the search defaults in the collection's metadata; None removes them."""
        self._catalog.set_search_defaults(name, defaults)

    def add_index(self, name: str, entry: PayloadIndex) -> None:
        """Index a metadata entry of present and future points."""
        self._catalog.add_index(name, entry)

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
        if any(point.to_embed for point in points):
            self._requests.check_takes_texts()
        self.aliases.check_open(name)
        points = self._words.on(name, points)

        def send(part: Sequence[Point]) -> object:
            structs = [to_struct(point) for point in part]
            return self._ask(f"writing to {name!r}", partial(self._client.upsert, name, structs))

        for batch in self._batches(name, points):
            for _ in self._requests.in_parts(name, batch, writes_of, send):
                pass

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:
        """Replace the given payload fields of points; return the ids that do not exist."""
        self.aliases.check_open(name)
        send = partial(set_together, self._requests, name)
        gone: list[str] = []
        for batch in self._batches(name, points):
            for missing in self._requests.in_parts(name, batch, writes_of, send):
                gone += missing
        return list(dict.fromkeys(gone))

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are ignored."""
        self.aliases.check_open(name)

        def send(part: Sequence[str]) -> object:
            chosen = models.PointIdsList(points=list(part))
            return self._ask(f"deleting from {name!r}", partial(self._client.delete, name, chosen))

        for _ in self._requests.in_parts(name, ids, ids_of, send):
            pass

    def retrieve(self, name: str, ids: Sequence[str], fetch: Select) -> list[Point]:
        """Return the points of these ids that exist."""

        def send(part: Sequence[str]) -> list[models.Record]:
            request = partial(
                self._client.retrieve,
                name,
                list(part),
                with_payload=fields_of(fetch),
                with_vectors=vectors_of(fetch),
            )
            return self._ask(f"reading from {name!r}", request)

        records = self._requests.in_parts(name, ids, ids_of, send)
        return [from_record(record) for part in records for record in part]

    def scroll(
        self, name: str, where: Where, fetch: Select, *, limit: int, after: str | None = None
    ) -> ScrollPage:
        """Return up to ``limit`` points that match, in the order of their ids."""
        points: list[Point] = []

        def send(limits: Limits) -> tuple[list[models.Record], Any]:
            request = partial(
                self._client.scroll,
                name,
                scroll_filter=to_filter(where, limits),
                limit=min(limit - len(points), limits.page),
                offset=after,
                with_payload=fields_of(fetch),
                with_vectors=vectors_of(fetch),
            )
            return self._ask(f"reading from {name!r}", request)

        while True:
            records, following = self._requests.adapting(name, send)
            points += map(from_record, records)
            after = None if following is None else str(following)
            if after is None or len(points) >= limit:
                return ScrollPage(points=points, after=after)

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
        end = offset + limit
        found: dict[str, ScoredPoint] = {}
        if (sent := self._sent(name, query)) is None:
            return []
        value, using = sent

        def send(limits: Limits) -> tuple[int, list[models.ScoredPoint]]:
            size = min(end - offset, limits.page)
            request = partial(
                self._client.query_points,
                name,
                query=value,
                using=using,
                search_params=self._params(name, query, limits),
                query_filter=None if where is None else to_filter(where, limits),
                limit=size,
                offset=offset,
                with_payload=fields_of(fetch),
                with_vectors=vectors_of(fetch),
            )
            return size, self._ask(f"searching {name!r}", request).points

        while offset < end:
            size, points = self._requests.adapting(name, send)
            part = to_scored(query, points)
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
            chosen = None if where is None else to_filter(where, limits)
            params = partial(self._params, name, limits=limits)
            requests = [
                models.QueryRequest(
                    query=value, using=using, params=params(query), filter=chosen, limit=limit
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
                [] if item is None else to_scored(query, next(answers))
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
            chosen = to_filter(where, limits)
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
        wait_for_index(self._requests, name, self._patience, progress=progress)

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._server.close()

    def __repr__(self) -> str:
        """Return the class and the address, without credentials."""
        return f"RemoteStore({self.place!r})"

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

    def _sent(
        self, name: str, query: Query
    ) -> tuple[list[float] | models.SparseVector | models.TextQuery | models.Document, str] | None:
        """Return a query in the client's form; None for words of which none is left."""
        if text_of(query) is not None:
            self._requests.check_takes_texts()
        if not isinstance(query, WordsQuery):
            return to_query(query)
        sent = self._words.of_query(name, query.text)
        if sent is None or isinstance(sent, SparseVector):
            return None if sent is None else to_query(sent, words=True)
        return sent, TEXT_PATH

    def _params(self, name: str, query: Query, limits: Limits) -> models.SearchParams | None:
        if self._server.is_local:
            return None
        oversampling = self._catalog.known_layout(name).oversampling
        if oversampling is not None:
            oversampling = min(oversampling, limits.oversampling)
        return params_of(query, oversampling=oversampling)

    def _batches(self, name: str, points: Sequence[Point]) -> list[Sequence[Point]]:
        """Cut points into requests, before the first request is sent."""
        most = self._requests.limits(name).writes
        return cut_writes(points, most=most, largest=self._requests.largest)
