"""Read points from a server's collections: by id, by condition, and by search.

The methods are coroutines. Through a blocking client they never wait, and :class:`RemoteStore` runs
them at once; through a client of an event loop each request is awaited. Limits that one of the two
learns hold for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from qdrant_client import models

from ..stores.collection_settings import StoredLayout
from ..stores.filters import And, Field, FieldIn, Where
from ..stores.protocol import Point, Ranking, ScoredPoint, ScrollPage, Select
from ..stores.queries import Query, TokensQuery, WordsQuery, text_of
from ..stores.sparse_vector import SparseVector
from .limits import Limits, most_ids
from .point_form import OwnForm, Spelling
from .points import Sent, by_prefix, params_of, to_scored
from .requests import Requests
from .words.text_index import TEXT_PATH
from .writing.fence import is_tombstone, noticing_tombstones

_NOTHING = Select(fields=())
_PAGE = 1_000


class Layouts(Protocol):
    """Knows how collections are stored."""

    def known_layout(self, name: str) -> StoredLayout:
        """Return the layout of a collection when it was last looked at."""
        ...


class RemoteReads:
    """Reads the collections of one server; see :class:`Reads`.

    Args:
        requests: Sends the requests.
        layouts: Knows how collections are stored.
        spelling: Turns points and queries into the client's.
    """

    def __init__(self, requests: Requests, layouts: Layouts, spelling: Spelling) -> None:
        self._requests = requests
        self._layouts = layouts
        self._spelling = spelling
        self._forms = spelling.forms
        self._words = spelling.words

    def through(self, requests: Requests) -> RemoteReads:
        """Return the same through another connection."""
        return RemoteReads(requests, self._layouts, self._spelling)

    async def retrieve(self, name: str, ids: Sequence[str], fetch: Select) -> list[Point]:
        """Return the points of these ids that exist."""
        form = self._forms[name]
        if isinstance(form, OwnForm):
            fetch = noticing_tombstones(fetch)

        async def send(part: Sequence[str]) -> list[models.Record]:
            request = partial(
                self._requests.client.retrieve,
                name,
                form.ids(part),
                with_payload=form.fields(fetch),
                with_vectors=form.vectors(fetch),
            )
            return await self._requests.send(f"reading from {name!r}", request)

        records = await self._requests.parts(name, ids, most_ids, send)
        points = (form.point(record) for part in records for record in part)
        return [point for point in points if not is_tombstone(point)]

    async def scroll(
        self, name: str, where: Where, fetch: Select, *, limit: int, after: str | None = None
    ) -> ScrollPage:
        """Return up to ``limit`` points that match, in the order of their ids."""
        points: list[Point] = []
        form = self._forms[name]
        start = None if after is None else form.ids([after])[0]

        async def send(limits: Limits) -> tuple[list[models.Record], Any]:
            request = partial(
                self._requests.client.scroll,
                name,
                scroll_filter=form.filter(where, limits),
                limit=min(limit - len(points), limits.page),
                offset=start,
                with_payload=form.fields(fetch),
                with_vectors=form.vectors(fetch),
            )
            return await self._requests.send(f"reading from {name!r}", request)

        while True:
            records, start = await self._requests.adapted(name, send)
            points += map(form.point, records)
            if start is None or len(points) >= limit:
                return ScrollPage(points=points, after=form.shown_id(start))

    async def query(
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

        async def send(limits: Limits) -> tuple[int, list[models.ScoredPoint]]:
            size = min(end - offset, limits.page)
            whole = models.QueryRequest(
                params=self._params(name, query, limits),
                filter=self._chosen(name, query, where, limits),
                limit=size,
                offset=offset,
            )
            prefix, most = self._prefix(name), limits.page
            staged = by_prefix(query, whole, prefix=prefix, end=end, most=most)
            request = partial(
                self._requests.client.query_points,
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
            return size, (await self._requests.send(f"searching {name!r}", request)).points

        while offset < end:
            size, points = await self._requests.adapted(name, send)
            part = to_scored(query, points, form.point)
            if size == limit:
                return part
            for item in part:
                found.setdefault(item.point.id, item)
            offset += size
            if len(part) < size:
                break
        return list(found.values())

    async def rank(
        self, name: str, queries: Sequence[Query], *, limit: int, where: Where | None = None
    ) -> list[Ranking]:
        """Return the ids and scores of one ranking per query, in one request where allowed."""
        sent = [self._sent(name, query) for query in queries]
        asked = [(query, item) for query, item in zip(queries, sent, strict=True) if item]

        async def send(limits: Limits) -> list[list[models.ScoredPoint]] | None:
            if limit > limits.page or len(asked) > limits.searches:
                return None
            params = partial(self._params, name, limits=limits)
            prefix, most = self._prefix(name), limits.page
            stage = partial(by_prefix, prefix=prefix, end=limit, most=most)
            requests = [
                stage(
                    query,
                    models.QueryRequest(
                        query=value,
                        using=using,
                        params=params(query),
                        filter=self._chosen(name, query, where, limits),
                        limit=limit,
                    ),
                )
                for query, (value, using) in asked
            ]
            request = partial(self._requests.client.query_batch_points, name, requests)
            answers = await self._requests.send(f"searching {name!r}", request)
            return [answer.points for answer in answers]

        if (found := await self._requests.adapted(name, send) if asked else []) is None:
            pages = [
                await self.query(name, one, _NOTHING, limit=limit, where=where) for one in queries
            ]
        else:
            answers = iter(found)
            pages = [
                [] if item is None else to_scored(query, next(answers), self._forms[name].point)
                for query, item in zip(queries, sent, strict=True)
            ]
        return [[(item.point.id, item.score) for item in page] for page in pages]

    async def count(self, name: str, where: Where) -> int:
        """Return exactly how many points match.

        If the server refuses to count exactly, the ids are read, page by page.
        """

        async def send(limits: Limits) -> int | None:
            if not limits.exact:
                return None
            chosen = self._forms[name].filter(where, limits)
            request = partial(self._requests.client.count, name, count_filter=chosen, exact=True)
            return (await self._requests.send(f"counting in {name!r}", request)).count

        if (counted := await self._requests.adapted(name, send)) is not None:
            return counted
        counted, after = 0, None
        while True:
            page = await self.scroll(name, where, _NOTHING, limit=_PAGE, after=after)
            counted += len(page.points)
            if (after := page.after) is None:
                return counted

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

    def _chosen(
        self, name: str, query: Query, where: Where | None, limits: Limits
    ) -> models.Filter | None:
        """Return the filter of a query, which token vectors narrow to the points of their ids."""
        if isinstance(query, TokensQuery):
            named = FieldIn(Field.ID, query.ids)
            where = named if where is None else And([named, where])
        return None if where is None else self._forms[name].filter(where, limits)

    def _prefix(self, name: str) -> int:
        return self._layouts.known_layout(name).prefix

    def _params(self, name: str, query: Query, limits: Limits) -> models.SearchParams | None:
        if self._requests.is_local and not isinstance(query, WordsQuery):
            return None  # local mode heeds the corpus of words alone
        oversampling = self._layouts.known_layout(name).oversampling
        return params_of(query, limits, oversampling=oversampling)
