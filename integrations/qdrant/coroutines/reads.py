"""The operations of a store that read points, as coroutines.

Searching awaits these alone. Every store has them through :class:`StoreReads`, without waiting; a
:class:`NativeStore` also has some that wait in the event loop, and need no thread meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..stores.filters import Where
from ..stores.protocol import Point, Ranking, ScoredPoint, Select, Store
from ..stores.queries import Query


class Reads(Protocol):
    """What searching needs of a store; each does what the store's method of this name does."""

    async def retrieve(self, name: str, ids: Sequence[str], fetch: Select) -> list[Point]:
        """Return the points of these ids that exist."""
        ...

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
        """Return the points that fit the query best, best first."""
        ...

    async def rank(
        self, name: str, queries: Sequence[Query], *, limit: int, where: Where | None = None
    ) -> list[Ranking]:
        """Return the ids and scores of one ranking per query."""
        ...

    async def count(self, name: str, where: Where) -> int:
        """Return exactly how many points match."""
        ...


@runtime_checkable
class NativeStore(Protocol):
    """A store that may wait for its answers in the event loop."""

    async def loop_reads(self, name: str) -> Reads | None:
        """Return what reads a collection from the running event loop; None: threads have to."""
        ...


async def loop_reads(store: Store, name: str) -> Reads | None:
    """Return what reads a collection from the running event loop; None: threads have to."""
    return await store.loop_reads(name) if isinstance(store, NativeStore) else None


class StoreReads:
    """The reads of any store, which block and are never waited for; see :class:`Reads`.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def retrieve(self, name: str, ids: Sequence[str], fetch: Select) -> list[Point]:
        """Return the points of these ids that exist."""
        return self._store.retrieve(name, ids, fetch)

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
        """Return the points that fit the query best, best first."""
        return self._store.query(name, query, fetch, limit=limit, offset=offset, where=where)

    async def rank(
        self, name: str, queries: Sequence[Query], *, limit: int, where: Where | None = None
    ) -> list[Ranking]:
        """Return the ids and scores of one ranking per query."""
        return self._store.rank(name, queries, limit=limit, where=where)

    async def count(self, name: str, where: Where) -> int:
        """Return exactly how many points match."""
        return self._store.count(name, where)


@dataclass(frozen=True, slots=True)
class Source:
    """One collection, for the coroutines that read it.

    Args:
        reads: What reads it.
        name: Its name in the store.
    """

    reads: Reads
    name: str
