"""Read the points of one tenant, as coroutines; see :class:`TenantStore`, which runs them at once.

Invariant: every request carries the tenant's condition, or ids that only this tenant's points have;
what comes back by id without the tenant's name in it is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..coroutines.reads import Reads
from ..stores.filters import Where
from ..stores.protocol import TENANT, Point, Ranking, ScoredPoint, Select
from ..stores.queries import Query, TokensQuery, WordsQuery
from .conditions import TenantConditions
from .tenant_ids import TenantIds


class TenantReads:
    """Reads the points of one tenant through what reads those of all; see :class:`Reads`.

    Args:
        reads: What reads the collection.
        tenant: The tenant.
        ids: The ids of the tenant's points.
        conditions: The conditions that hold for the tenant's points alone.
    """

    def __init__(
        self, reads: Reads, tenant: str, ids: TenantIds, conditions: TenantConditions
    ) -> None:
        self._reads = reads
        self._tenant = tenant
        self._ids = ids
        self._conditions = conditions

    def through(self, reads: Reads) -> TenantReads:
        """Return the same through something else that reads the collection."""
        return TenantReads(reads, self._tenant, self._ids, self._conditions)

    async def retrieve(self, name: str, ids: Sequence[str], fetch: Select) -> list[Point]:
        """Return the tenant's points of these ids."""
        stored = [self._ids.stored(identity) for identity in ids]
        found = await self._reads.retrieve(name, stored, _with_tenant(fetch))
        own = [point for point in found if point.payload.get(TENANT) == self._tenant]
        return [self.shown(point) for point in own]

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
        """Return the tenant's points that fit the query best, best first."""
        found = await self._reads.query(
            name,
            self._within(query),
            fetch,
            limit=limit,
            offset=offset,
            where=self._conditions.within(where),
        )
        return [replace(item, point=self.shown(item.point)) for item in found]

    async def rank(
        self, name: str, queries: Sequence[Query], *, limit: int, where: Where | None = None
    ) -> list[Ranking]:
        """Return the ids and scores of one ranking of the tenant's points per query."""
        own = [self._within(query) for query in queries]
        within = self._conditions.within(where)
        found = await self._reads.rank(name, own, limit=limit, where=within)
        return [
            [(self._ids.of_stored(identity), score) for identity, score in ranking]
            for ranking in found
        ]

    async def count(self, name: str, where: Where) -> int:
        """Return exactly how many points of the tenant match."""
        return await self._reads.count(name, self._conditions.within(where))

    def shown(self, point: Point) -> Point:
        """Return a stored point as the tenant sees it."""
        payload = {key: value for key, value in point.payload.items() if key != TENANT}
        return replace(point, id=self._ids.of_stored(point.id), payload=payload)

    def _within(self, query: Query) -> Query:
        """Return a query by the words of the tenant's texts, and by the ids of its points."""
        if isinstance(query, WordsQuery):
            return replace(query, corpus=self._conditions.own)
        if isinstance(query, TokensQuery):
            return replace(query, ids=tuple(map(self._ids.stored, query.ids)))
        return query


def _with_tenant(fetch: Select) -> Select:
    return fetch if fetch.fields is None else replace(fetch, fields=(*fetch.fields, TENANT))
