"""What comes after a migration: take it back, or drop the old vectors for good."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from decant.embedders import Encoder, StoreError

from ..open import target_of
from ..points.handle import refused_adopted
from ..stores.aliases import FoundCollection, MigrationNote
from ..stores.input_errors import AbsentError
from ..stores.protocol import Store
from ..tenants.unbound_store import UnboundStore, whole_store
from .by_tenant import TenantsCopier, turn_at
from .copier import Copies, copier_of, copy_all

KEEP = timedelta(days=7)
"""How long the old vectors are kept by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack:
    """A migration that was taken back.

    Args:
        name: The own name of the collection that the name means now.
        abandoned: The own name of the other one.
        was_cut_over: Whether the name meant the other one before. Then that is still there, closed
            for writes, or else it was dropped.
    """

    name: str
    abandoned: str
    was_cut_over: bool


def rollback_migration(
    store: Store, name: str, *, old_encoder: Encoder | None = None, to: Store | None = None
) -> RolledBack:
    """Take the last migration back: the name means the old collection, which takes writes again.

    This is immediate. Changes since the cut-over are in the new collection alone, unless the old
    encoder is given: then they are copied to the old one first. Before the cut-over the unfinished
    new collection is dropped.

    Args:
        store: The store of the old collection.
        name: The name that was migrated.
        old_encoder: The encoder of the old collection.
        to: The store of the new one, if it is another.

    Raises:
        StoreError: The name was not migrated, the old vectors were dropped, or a store failed.
        TenantError: A store is that of one tenant.
        CollectionMismatch: ``old_encoder`` is not that of the old collection.
    """
    what = f"rolling back the migration of {name!r}"
    store, to = whole_store(store, what), None if to is None else whole_store(to, what)
    found = store.find(name)
    note = store.aliases.note(found.name)
    if note is not None and note.following is not None:
        return _reopen(store, found.name, note, to)
    if note is None or note.previous is None or note.cut_over_at is None:
        raise StoreError(
            f"{name!r} in {store.place} has no migration that could be rolled back: it was not "
            "migrated, or the old vectors were dropped"
        )
    previous = note.previous
    if note.previous_place is not None:
        raise StoreError(
            f"{name!r} was migrated from {note.previous_place} to {store.place}; roll it back from "
            "there, with `to` (--to-store) for this store"
        )
    card = store.card(previous)
    if old_encoder is not None and card.payload_layout is not None:
        raise refused_adopted(previous, "copying back what was written since the cut-over")
    if old_encoder is not None:
        card.check(old_encoder, where=f"collection {previous!r} in {store.place}")
    aliases, held = store.aliases, store.aliases.note(previous)
    with turn_at(store, found.name), turn_at(store, previous):
        aliases.set_note(found.name, replace(note, is_closed=True))
        opened = replace(held or MigrationNote(alias=name), following=None, is_closed=False)
        aliases.set_note(previous, opened)
        if old_encoder is not None:
            time.sleep(aliases.grace)
            target = target_of(store, FoundCollection(name=previous, card=card), old_encoder)
            if isinstance(target.store, UnboundStore):
                copies: Copies = TenantsCopier(store, found.name, target, is_back=True)
            else:
                copies = copier_of(store, found.name, target, may_reuse=False)
            copy_all(copies, f"the collection {found.name!r} in {store.place}")
        aliases.point(name, None if previous == name else previous)
        closed = MigrationNote(alias=name, following=previous, is_closed=True)
        aliases.set_note(found.name, closed)
    return RolledBack(name=previous, abandoned=found.name, was_cut_over=True)


def drop_replaced(store: Store, name: str, *, keep: timedelta = KEEP) -> list[str]:
    """Delete the collections that migrations of a name have replaced, and return their names.

    What has an old collection open fails from then on; the name goes on meaning the new one.

    Args:
        store: The store of the old collections.
        name: The name that was migrated.
        keep: How long ago the cut-over must be.

    Raises:
        StoreError: There is nothing to drop, the time is not over, or the store failed.
        TenantError: The store is that of one tenant.
    """
    store = whole_store(store, f"dropping the old vectors of {name!r}")
    found = store.find(name)
    note = store.aliases.note(found.name)
    if note is not None and note.following_place is not None and note.cut_over_at is not None:
        _check_age(name, note.cut_over_at, keep)  # it went to another store
        store.drop(found.name)
        return [found.name]
    if note is None or note.previous is None or note.cut_over_at is None or note.previous_place:
        raise StoreError(
            f"{name!r} in {store.place} has no old vectors to drop: it was not migrated here, the "
            "cut-over is still to come, or they were dropped already"
        )
    _check_age(name, note.cut_over_at, keep)
    dropped = []
    previous: str | None = note.previous
    while previous is not None:
        before = _note_of(store, previous)
        if previous == name:
            store.aliases.drop_replaced(name, found.name)
        else:
            _drop(store, previous)
        dropped.append(previous)
        previous = None if before is None or before.previous_place else before.previous
        if previous in dropped:
            break
    store.aliases.set_note(found.name, replace(note, previous=None, cut_over_at=None))
    return dropped


def _reopen(store: Store, source: str, note: MigrationNote, to: Store | None) -> RolledBack:
    """Take back a migration before its cut-over, or one to another store."""
    following, was_cut_over = note.following, note.cut_over_at is not None
    assert following is not None
    if note.following_place is None:
        was_cut_over = False
        _drop(store, following)
    elif to is None:
        raise StoreError(
            f"{source!r} was migrated to {note.following_place}; give that store as `to` "
            "(--to-store), where the name must not go on meaning the new collection"
        )
    elif was_cut_over:
        to.aliases.point(note.alias, None)
        closed = MigrationNote(alias=note.alias, following=source, is_closed=True)
        to.aliases.set_note(following, closed)
    else:
        _drop(to, following)
    # Last, so that a call that was interrupted is completed by the next one.
    opened = replace(note, following=None, following_place=None, is_closed=False, cut_over_at=None)
    store.aliases.set_note(source, None if opened == MigrationNote(alias=note.alias) else opened)
    return RolledBack(name=source, abandoned=following, was_cut_over=was_cut_over)


def _note_of(store: Store, name: str) -> MigrationNote | None:
    try:
        store.card(name)
    except StoreError:  # an interrupted call has dropped it, or a part of it
        return None
    return store.aliases.note(name)


def _drop(store: Store, name: str) -> None:
    try:
        store.drop(name)
    except AbsentError:
        return  # an interrupted call has dropped it


def _check_age(name: str, cut_over_at: float, keep: timedelta) -> None:
    end = datetime.fromtimestamp(cut_over_at, UTC) + keep
    if end > datetime.now(UTC):
        raise StoreError(
            f"the old vectors of {name!r} are kept until {end:%Y-%m-%d %H:%M} UTC, so that the "
            "migration can be rolled back; to drop them now, keep them for a shorter time "
            "(--keep 0d)"
        )
