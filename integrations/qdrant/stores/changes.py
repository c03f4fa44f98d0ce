"""Changes of points whose order matters, carried out in as few requests as an engine allows.

A server carries out the operations of one batch in their order, and stops at the first that fails,
so a batch leaves what separate requests in this order could have left. A store that can send such
batches is an :class:`OrderedStore`; every other store gets one call for each change. A store that
several processes write to is a :class:`LeasingStore`. A store that builds a vector index while it
is written to is a :class:`DeferringStore`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, assert_never, runtime_checkable

from .point_ids import note_id
from .protocol import TENANT, Payload

if TYPE_CHECKING:
    from .protocol import Point, Store


LEASE = "writer"
"""What the note of a lease says that it is."""

LEASE_ID = note_id(LEASE)
"""The id of that note, if it belongs to no tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """To whom the points belong that a store writes, and the note of the lease that it takes.

    Args:
        tenant: The tenant; None: the collection has none.
        lease_id: The id of the point that is the note.
    """

    tenant: str | None = None
    lease_id: str = LEASE_ID

    @property
    def payload(self) -> Payload:
        """What the payload of every such point says of its owner."""
        return {} if self.tenant is None else {TENANT: self.tenant}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Upsert:
    """Store points, replacing those of the same id."""

    points: Sequence[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete points; unknown ids are ignored."""

    ids: Sequence[str]


Change: TypeAlias = Upsert | Delete


class OrderedStore(ABC):
    """A store that sends several changes in one request."""

    @abstractmethod
    def change_in_order(self, name: str, changes: Sequence[Change]) -> None:
        """Carry out changes, none before the one in front of it."""


class Lease(ABC):
    """The right of this process to index and delete in a collection, until it is released."""

    @abstractmethod
    def release(self, error: BaseException | None = None) -> None:
        """Let other processes write.

        Args:
            error: What ended the work, if it was an error.
        """


class LeasingStore(ABC):
    """A store whose collections several processes fill."""

    @abstractmethod
    def lease(self, name: str, mark: str) -> Lease | None:
        """Wait until no other process writes, and return the lease; None: none is needed.

        Args:
            name: The collection.
            mark: What is random for this process.

        Raises:
            StoreError: Another process writes for too long; the message says which.
        """

    @abstractmethod
    def write_under(self, name: str, lease: Lease | None) -> None:
        """Let this object's writes to the collection be those of the lease, until it ends."""


class DeferringStore(ABC):
    """A store that builds vector indexes while it is written to, and can be told to wait."""

    @abstractmethod
    def defer_index(self, name: str) -> None:
        """Build no vector index of a collection until :meth:`build_deferred`."""

    @abstractmethod
    def build_deferred(self, name: str) -> bool:
        """Let the vector index be built, and return whether it was deferred."""

    @abstractmethod
    def is_deferred(self, name: str) -> bool:
        """Return whether it was deferred when the collection was last looked at; no request."""


@runtime_checkable
class TenantsStore(Protocol):
    """A store that writes the points of each tenant under leases of the tenant's own."""

    def of_owner(self, owner: Owner, *, has_shards: bool) -> Store:
        """Return the store for the points of one tenant; metadata are those of this store.

        Args:
            owner: The tenant.
            has_shards: Whether tenants have shards, to which its requests then go.
        """
        ...


def change_in_order(store: Store, name: str, changes: Sequence[Change]) -> None:
    """Carry out changes, none before the one in front of it.

    If the store fails in between, a first part of the changes has been carried out, and of the next
    change perhaps some points.

    Args:
        store: The store that holds the collection.
        name: The collection.
        changes: The changes.
    """
    if isinstance(store, OrderedStore):
        store.change_in_order(name, changes)
        return
    for change in changes:
        carry_out(store, name, change)


def carry_out(store: Store, name: str, change: Change) -> None:
    """Carry out one change by itself."""
    match change:
        case Upsert(points=points):
            store.upsert(name, points)
        case Delete(ids=ids):
            store.delete(name, ids)
        case _:
            assert_never(change)
