"""A store that holds the points of one tenant of one collection, and knows of no others.

All code above a store works with it unchanged: indexing with its markers, locks, search, checks,
notes. Invariant: every request carries the tenant's condition, or ids that only this tenant's
points have; what comes back without the tenant's name in it is dropped. What concerns all tenants,
such as deleting the collection, is refused and named.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Self

from ..coroutines.async_close import AsyncClose
from ..coroutines.reads import Reads, StoreReads, loop_reads
from ..coroutines.run_now import run_now
from ..stores.aliases import FoundCollection
from ..stores.changes import LEASE_ID, Lease, LeasingStore, Owner, TenantsStore
from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import (
    SHARED_TENANT,
    CollectionSettings,
    Layout,
    PayloadIndex,
    StoredLayout,
    check_tenant,
)
from ..stores.filters import Where
from ..stores.input_errors import AbsentError, TenantError
from ..stores.protocol import (
    TENANT,
    Engine,
    OptimizeProgress,
    Point,
    Ranking,
    ScoredPoint,
    ScrollPage,
    Select,
    Store,
)
from ..stores.queries import Query
from ..stores.search_defaults import SearchDefaults
from .conditions import TenantConditions
from .tenant_aliases import TenantAliases
from .tenant_ids import TenantIds
from .tenant_reads import TenantReads

UNSHOWN = " restoring "
"""What stands before a tenant's name in points that are not shown yet; no tenant's name has it."""


class TenantStore(AsyncClose, LeasingStore):
    """The points of one tenant in one collection, as a :class:`Store`; made by :meth:`of`.

    Args:
        store: The store of the collection.
        points: The store through which the tenant's points are read and written.
        found: The collection.
        tenant: The tenant.
        called: The name by which it was opened, its own or an alias.
    """

    def __init__(
        self, store: Store, points: Store, found: FoundCollection, tenant: str, *, called: str
    ) -> None:
        self._store = store
        self._points = points
        self._name = found.name
        self._called = called
        self._tenant = tenant
        self._ids = TenantIds(found.card.tenant_key, tenant)
        self._conditions = TenantConditions(tenant, self._ids, store.engine)
        self._reads = TenantReads(StoreReads(points), tenant, self._ids, self._conditions)

    @classmethod
    def of(cls, store: Store, name: str, tenant: str) -> Self:
        """Return what a tenant has in a collection.

        Args:
            store: The store of the collection.
            name: The collection's name, or an alias.
            tenant: Any name that can be one; a new tenant has no points yet.

        Raises:
            TenantError: The collection has no tenants, or ``store`` is a tenant's already.
            StoreInputError: Nobody can have this name, or there is no such collection.
        """
        if isinstance(store, TenantStore):
            raise TenantError(
                f"this store is that of the tenant {store.tenant!r} and leads to no other; open "
                f"the collection {name!r} from the store that connect() returned"
            )
        return cls.of_found(store, store.find(name), tenant, called=name)

    @classmethod
    def of_found(
        cls, store: Store, found: FoundCollection, tenant: str, *, called: str | None = None
    ) -> Self:
        """Return what a tenant has in a collection that was found already.

        Args:
            store: The store of the collection.
            found: The collection, whatever its name means by now.
            tenant: As for :meth:`of`.
            called: The name by which it was found, if that is an alias.

        Raises:
            TenantError: The collection has no tenants.
            StoreInputError: Nobody can have this name.
        """
        called = called or found.name
        if found.card.tenants is None:
            raise TenantError(
                f"the collection {called!r} in {store.place} has no tenants, so it has none named "
                f"{tenant!r}; tenants are decided when a collection is made, with "
                "CollectionSettings(tenants=Tenants()) (decant create --tenants)"
            )
        return cls._of(store, found, check_tenant(tenant), called=called)

    @classmethod
    def of_all(cls, store: Store, name: str, card: CollectionMetadata) -> Self:
        """Return what belongs to all tenants: notes that decant keeps, and never passages."""
        return cls._of(store, FoundCollection(name=name, card=card), SHARED_TENANT, called=name)

    @classmethod
    def _of(cls, store: Store, found: FoundCollection, tenant: str, *, called: str) -> Self:
        points, tenants = store, found.card.tenants
        if isinstance(store, TenantsStore):
            lease = TenantIds(found.card.tenant_key, tenant).stored(LEASE_ID)
            has_shards = tenants is not None and tenants.dedicated is not None
            owner = Owner(tenant=tenant, lease_id=lease)
            points = store.of_owner(owner, has_shards=has_shards)
        return cls(store, points, found, tenant, called=called)

    @property
    def shared(self) -> TenantStore:
        """What belongs to all tenants; see :meth:`of_all`."""
        return TenantStore.of_all(self._store, self._name, self._store.card(self._name))

    @property
    def tenant(self) -> str:
        """The tenant's name."""
        return self._tenant

    @property
    def unshown(self) -> TenantStore:
        """The store of points that get the ids of this tenant's, and that nobody sees yet.

        :meth:`show` makes them the tenant's.
        """
        other = copy.copy(self)
        other._rename(f"{UNSHOWN}{self._tenant}")  # noqa: SLF001 - it is of this class
        return other

    def show(self, name: str, ids: Sequence[str]) -> None:
        """Make points of :attr:`unshown` the tenant's; what they hold else stays."""
        own = [Point(id=self._ids.stored(one), payload={TENANT: self._tenant}) for one in ids]
        self._points.set_fields(self._checked(name), own)

    @property
    def engine(self) -> Engine:
        """The engine of the collection's store."""
        return self._store.engine

    @property
    def place(self) -> str:
        """The folder or the address, for messages."""
        return self._store.place

    @property
    def identity(self) -> Hashable:
        """That of the collection's store, and the tenant, so that each has locks of its own."""
        return self._store.identity, "tenant", self._tenant

    def names(self) -> list[str]:
        """Return the name of the one collection that is here."""
        return [self._name]

    def create(self, name: str, card: CollectionMetadata, settings: CollectionSettings) -> None:  # noqa: ARG002
        """Refuse to make a collection."""
        raise self._for_all(f"making the collection {name!r}")

    def card(self, name: str) -> CollectionMetadata:
        """Return the collection's metadata, which all tenants share."""
        return self._store.card(self._checked(name))

    def find(self, name: str) -> FoundCollection:
        """Return the one collection that is here, by its own name or the one it was opened by."""
        if name == self._called:
            name = self._name
        return FoundCollection(name=self._checked(name), card=self._store.card(self._name))

    @property
    def aliases(self) -> TenantAliases:
        """What a tenant may see of the collection's names and migrations."""
        return TenantAliases(self._store.aliases, self._name, self._for_all)

    def drop(self, name: str) -> None:
        """Refuse to delete the collection."""
        raise self._for_all(f"deleting the collection {name!r}")

    def set_search_defaults(self, name: str, defaults: SearchDefaults | None) -> None:  # noqa: ARG002
        """Refuse to change how the collection is searched."""
        raise self._for_all(f"keeping how {name!r} is searched")

    def add_index(self, name: str, entry: PayloadIndex) -> None:
        """Refuse to make a payload index."""
        raise self._for_all(f"indexing {entry.path!r} in {name!r}")

    def layout(self, name: str) -> StoredLayout:
        """Return how the engine stores the collection."""
        return self._store.layout(self._checked(name))

    def relayout(self, name: str, layout: Layout) -> None:  # noqa: ARG002
        """Refuse to change the layout of the collection."""
        raise self._for_all(f"changing the layout of {name!r}")

    def lease(self, name: str, mark: str) -> Lease | None:
        """Wait until no other process writes for this tenant; other tenants are not waited for."""
        if not isinstance(self._points, LeasingStore):
            return None
        return self._points.lease(self._checked(name), mark)

    def write_under(self, name: str, lease: Lease | None) -> None:
        """Let writes be those of the tenant's lease, until it ends."""
        if isinstance(self._points, LeasingStore):
            self._points.write_under(self._checked(name), lease)

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Store points as the tenant's."""
        own = [
            replace(
                point,
                id=self._ids.stored(point.id),
                payload={**point.payload, TENANT: self._tenant},
            )
            for point in points
        ]
        self._points.upsert(self._checked(name), own)

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:
        """Replace payload fields of the tenant's points; return the ids that it has not."""
        held = self._held(name, [point.id for point in points])
        own = [
            replace(
                point,
                id=self._ids.stored(point.id),
                payload={**point.payload, TENANT: self._tenant},
            )
            for point in points
            if point.id in held
        ]
        lost = [self._ids.of_stored(each) for each in self._points.set_fields(name, own)]
        strange = [point.id for point in points if point.id not in held]
        return list(dict.fromkeys([*strange, *lost]))

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete points of the tenant; ids that it has not are ignored."""
        held = self._held(name, ids)
        own = [self._ids.stored(identity) for identity in ids if identity in held]
        self._points.delete(name, own)

    def retrieve(self, name: str, ids: Sequence[str], fetch: Select) -> list[Point]:
        """Return the tenant's points of these ids."""
        return run_now(self._reads.retrieve(self._checked(name), ids, fetch))

    def scroll(
        self, name: str, where: Where, fetch: Select, *, limit: int, after: str | None = None
    ) -> ScrollPage:
        """Return up to ``limit`` points of the tenant that match."""
        page = self._points.scroll(
            self._checked(name),
            self._conditions.within(where),
            fetch,
            limit=limit,
            after=None if after is None else self._ids.stored(after),
        )
        following = None if page.after is None else self._ids.of_stored(page.after)
        return ScrollPage(
            points=[self._reads.shown(point) for point in page.points], after=following
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
        """Return the tenant's points that fit the query best, best first."""
        self._checked(name)
        found = self._reads.query(name, query, fetch, limit=limit, offset=offset, where=where)
        return run_now(found)

    def rank(
        self, name: str, queries: Sequence[Query], *, limit: int, where: Where | None = None
    ) -> list[Ranking]:
        """Return the ids and scores of one ranking of the tenant's points per query."""
        return run_now(self._reads.rank(self._checked(name), queries, limit=limit, where=where))

    def count(self, name: str, where: Where) -> int:
        """Return exactly how many points of the tenant match."""
        return run_now(self._reads.count(self._checked(name), where))

    async def loop_reads(self, name: str) -> Reads | None:
        """Return what reads the tenant's points from the running event loop, if anything does."""
        reads = await loop_reads(self._points, self._checked(name))
        return None if reads is None else self._reads.through(reads)

    def missing_indexes(self, name: str) -> list[str]:
        """Return the paths of the payload indexes that the collection should have and lacks."""
        return self._store.missing_indexes(self._checked(name))

    def list_limit(self, name: str) -> int:
        """Return how many values one condition of a filter may list."""
        return self._points.list_limit(self._checked(name))

    def flush(self, name: str) -> None:
        """Return when all writes so far are durable."""
        self._points.flush(self._checked(name))

    def optimize(self, name: str, *, progress: OptimizeProgress | None = None) -> None:  # noqa: ARG002
        """Refuse to build the vector index, which is that of all tenants."""
        raise self._for_all(f"optimizing {name!r}")

    def close(self) -> None:
        """Close the collection's store."""
        self._store.close()

    async def aclose(self) -> None:
        """Close the collection's store without blocking the event loop."""
        await self._store.aclose()

    def __repr__(self) -> str:
        """Return the class, the collection's store, and the tenant."""
        return f"TenantStore({self._store!r}, {self._name!r}, tenant={self._tenant!r})"

    def _rename(self, tenant: str) -> None:
        """Hold the points under another tenant's name from now on, with the same ids."""
        self._tenant = tenant
        self._conditions = TenantConditions(tenant, self._ids, self._store.engine)
        self._reads = TenantReads(StoreReads(self._points), tenant, self._ids, self._conditions)

    def _checked(self, name: str) -> str:
        """Return the name of the collection, if it is this one."""
        if name != self._name:
            raise AbsentError(
                f"the store of the tenant {self._tenant!r} holds the collection {self._name!r} "
                f"alone, and not {name!r}"
            )
        return name

    def _held(self, name: str, ids: Sequence[str]) -> set[str]:
        return {point.id for point in self.retrieve(name, ids, Select(fields=()))}

    def _for_all(self, what: str) -> TenantError:
        return TenantError(
            f"{what} concerns all tenants, and this is the store of {self._tenant!r}; do it with "
            "the collection that was opened without a tenant"
        )
