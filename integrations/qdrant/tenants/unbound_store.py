"""The store of a collection with tenants while no tenant is chosen: points are out of reach.

So a missing tenant is an error, never everybody's data, whatever method needs the points. What
concerns the collection as a whole stays possible: its metadata, layout, indexes, its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Never

from ..coroutines.async_close import AsyncClose
from ..stores.aliases import Aliases, FoundCollection
from ..stores.changes import LEASE
from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import (
    SHARED_TENANT,
    CollectionSettings,
    Layout,
    PayloadIndex,
    StoredLayout,
)
from ..stores.filters import Field, FieldIn, Where
from ..stores.input_errors import TenantError
from ..stores.point_ids import Kind
from ..stores.protocol import (
    TENANT,
    Engine,
    OptimizeProgress,
    Payload,
    Point,
    Ranking,
    ScoredPoint,
    ScrollPage,
    Select,
    Store,
    each,
)
from ..stores.queries import Query
from ..stores.search_defaults import SearchDefaults
from .tenant_store import UNSHOWN, TenantStore

_NOTES = FieldIn(Field.KIND, (Kind.NOTE,))


class UnboundStore(AsyncClose):
    """A store that refuses to read or change the points of one collection with tenants.

    Args:
        store: What holds the collection, and others.
        name: The collection's name.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name

    @property
    def engine(self) -> Engine:
        """The engine."""
        return self._store.engine

    @property
    def place(self) -> str:
        """The folder or the address, for messages."""
        return self._store.place

    @property
    def identity(self) -> Hashable:
        """That of the store."""
        return self._store.identity

    @property
    def whole(self) -> Store:
        """The store of all points, for what is done for all tenants, such as a migration."""
        return self._store

    def of_tenant(self, tenant: str, *, called: str | None = None) -> TenantStore:
        """Return the store of one tenant; see :meth:`TenantStore.of`.

        It holds this collection, also when a migration has made its name mean another one.

        Args:
            tenant: The tenant.
            called: The name by which the collection was opened, if that is an alias.
        """
        card = self._store.card(self._name)
        found = FoundCollection(name=self._name, card=card)
        return TenantStore.of_found(self._store, found, tenant, called=called)

    @property
    def shared(self) -> TenantStore:
        """What belongs to all tenants; see :meth:`TenantStore.of_all`."""
        return TenantStore.of_all(self._store, self._name, self._store.card(self._name))

    def tenant_names(self) -> list[str]:
        """Return the names of the tenants that have stored passages, sorted.

        They are read off the notes of what filled the collection, of which each tenant has one for
        each precision.
        """
        pages = each(self._store, self._name, _NOTES, Select(fields=(TENANT, "note")))
        notes = (point.payload for page in pages for point in page)
        # Who deletes takes a lease, and need not have stored anything.
        return _names_in(note for note in notes if note.get("note") != LEASE)

    def count_by_tenant(self, where: Where) -> dict[str, int]:
        """Return how many points of each tenant match, by the tenants' names in order.

        This reads the name of each point's tenant, and nothing else of it.
        """
        pages = each(self._store, self._name, where, Select(fields=(TENANT,)))
        counts = Counter(str(point.payload.get(TENANT, "")) for page in pages for point in page)
        return {name: counts[name] for name in sorted(counts) if _is_tenant(name)}

    def names(self) -> list[str]:
        """Return the names of the collections."""
        return self._store.names()

    def create(self, name: str, card: CollectionMetadata, settings: CollectionSettings) -> None:
        """Make an empty collection."""
        self._store.create(name, card, settings)

    def card(self, name: str) -> CollectionMetadata:
        """Return the collection's metadata."""
        return self._store.card(name)

    def find(self, name: str) -> FoundCollection:
        """Return the collection that a name means."""
        return self._store.find(name)

    @property
    def aliases(self) -> Aliases:
        """The aliases of the store, and the notes of migrations."""
        return self._store.aliases

    def drop(self, name: str) -> None:
        """Delete the collection with the points of all tenants."""
        self._store.drop(name)

    def set_search_defaults(self, name: str, defaults: SearchDefaults | None) -> None:
        """Replace the search defaults of all tenants."""
        self._store.set_search_defaults(name, defaults)

    def add_index(self, name: str, entry: PayloadIndex) -> None:
        """Index a metadata entry of all tenants."""
        self._store.add_index(name, entry)

    def layout(self, name: str) -> StoredLayout:
        """Return how the engine stores the collection."""
        return self._store.layout(name)

    def relayout(self, name: str, layout: Layout) -> None:
        """Change how the engine stores the collection."""
        self._store.relayout(name, layout)

    def upsert(self, name: str, points: Sequence[Point]) -> None:  # noqa: ARG002
        """Refuse to store points."""
        self._refuse(f"writing to {name!r}")

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:  # noqa: ARG002
        """Refuse to change points."""
        self._refuse(f"writing to {name!r}")

    def delete(self, name: str, ids: Sequence[str]) -> None:  # noqa: ARG002
        """Refuse to delete points."""
        self._refuse(f"deleting from {name!r}")

    def retrieve(self, name: str, ids: Sequence[str], fetch: Select) -> list[Point]:  # noqa: ARG002
        """Refuse to read points."""
        self._refuse(f"reading from {name!r}")

    def scroll(
        self,
        name: str,
        where: Where,  # noqa: ARG002
        fetch: Select,  # noqa: ARG002
        *,
        limit: int,  # noqa: ARG002
        after: str | None = None,  # noqa: ARG002
    ) -> ScrollPage:
        """Refuse to read points."""
        self._refuse(f"reading from {name!r}")

    def query(
        self,
        name: str,
        query: Query,  # noqa: ARG002
        fetch: Select,  # noqa: ARG002
        *,
        limit: int,  # noqa: ARG002
        offset: int = 0,  # noqa: ARG002
        where: Where | None = None,  # noqa: ARG002
    ) -> list[ScoredPoint]:
        """Refuse to search."""
        self._refuse(f"searching {name!r}")

    def rank(
        self,
        name: str,
        queries: Sequence[Query],  # noqa: ARG002
        *,
        limit: int,  # noqa: ARG002
        where: Where | None = None,  # noqa: ARG002
    ) -> list[Ranking]:
        """Refuse to search."""
        self._refuse(f"searching {name!r}")

    def count(self, name: str, where: Where) -> int:  # noqa: ARG002
        """Refuse to count points."""
        self._refuse(f"counting in {name!r}")

    def missing_indexes(self, name: str) -> list[str]:
        """Return the paths of the payload indexes that the collection should have and lacks."""
        return self._store.missing_indexes(name)

    def list_limit(self, name: str) -> int:
        """Return how many values one condition of a filter may list."""
        return self._store.list_limit(name)

    def flush(self, name: str) -> None:
        """Return when all writes so far are durable."""
        self._store.flush(name)

    def optimize(self, name: str, *, progress: OptimizeProgress | None = None) -> None:
        """Return when the vector index is built."""
        self._store.optimize(name, progress=progress)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    async def aclose(self) -> None:
        """Close the store without blocking the event loop."""
        await self._store.aclose()

    def __repr__(self) -> str:
        """Return that of the store."""
        return repr(self._store)

    def _refuse(self, what: str) -> Never:
        raise without_tenant(what, self.place)


def guarded(store: Store, name: str, card: CollectionMetadata) -> Store:
    """Return the store through which a collection is opened; with tenants no points are in reach.

    Args:
        store: The store, which may be a tenant's.
        name: The collection's name.
        card: Its metadata.
    """
    if card.tenants is None or isinstance(store, TenantStore | UnboundStore):
        return store
    return UnboundStore(store, name)


def check_tenant_chosen(store: Store, name: str, card: CollectionMetadata, what: str) -> None:
    """Refuse to work on a whole collection with tenants.

    Raises:
        TenantError: The collection has tenants, and ``store`` is not that of one.
    """
    if card.tenants is not None and not isinstance(store, TenantStore):
        raise without_tenant(f"{what} {name!r}", store.place)


def without_tenant(what: str, place: str) -> TenantError:
    """Return the error for a tenant that is missing."""
    return TenantError(
        f"{what} in {place} needs a tenant, because its passages belong to tenants, and nobody "
        'sees those of all; choose one with collection.tenant("…"), or with --tenant NAME'
    )


def whole_store(store: Store, what: str) -> Store:
    """Return the store of all points, for what concerns the collection as a whole.

    Args:
        store: A store, which may be that of an open collection.
        what: What is to be done, for the message.

    Raises:
        TenantError: The store is that of one tenant.
    """
    if isinstance(store, TenantStore):
        raise TenantError(
            f"{what} concerns all tenants, and this is the store of {store.tenant!r}; give the "
            "store that connect() returned"
        )
    return store.whole if isinstance(store, UnboundStore) else store


def _names_in(payloads: Iterable[Payload]) -> list[str]:
    values = (payload.get(TENANT) for payload in payloads)
    return sorted({value for value in values if isinstance(value, str) and _is_tenant(value)})


def _is_tenant(name: str) -> bool:
    """Return whether it is the name of a tenant, and not that of what all share or nobody sees."""
    return name != SHARED_TENANT and not name.startswith(UNSHOWN) and name != ""
