"""Changes of points whose order matters, carried out in as few requests as an engine allows.

A server carries out the operations of one batch in their order, and stops at the first that fails,
so a batch leaves what separate requests in this order could have left. A store that can send such
batches is an :class:`OrderedStore`; every other store gets one call for each change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, assert_never

if TYPE_CHECKING:
    from .protocol import Point, Store


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
