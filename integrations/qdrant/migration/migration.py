"""A migration: build a new collection beside the old one, then let the name mean the new one.

What is done is kept in the stores, in a note of each of the two collections, so any process can go
on. Until :meth:`Migration.cut_over` the old collection is searched and written as if nothing
happened, and each pass copies what changed since the last one. The cut-over closes the old one for
writes, makes the last passes, and lets the name mean the new one, which is one atomic step.
Invariant: while the name means a collection that is open, no write of another one is missing in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from decant.embedders import Encoder

from ..points.handle import Target
from ..stores.aliases import MigrationNote
from ..stores.protocol import Store
from ..tenants.unbound_store import UnboundStore
from .by_tenant import TenantsCopier, compare_by_tenant, turn_at
from .copier import COPIED, Copies, MigrationProgress, copier_of, copy_all
from .overlap import OverlapReport, Side, compare_passages, compare_queries

_PASSES = 20
_FEW = 256  # changes that the last pass, during which writers wait, may find


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The two collections of a migration.

    Args:
        alias: The name that means the old one, and shall mean the new one.
        store: The store of the old one.
        source: Its own name.
        target: The new one, with its encoder.
    """

    alias: str
    store: Store
    source: str
    target: Target

    @property
    def changes_store(self) -> bool:
        """Whether the new collection lies in another store."""
        there = self.target.store
        return (there.engine, there.identity) != (self.store.engine, self.store.identity)

    @property
    def copies(self) -> Copies:
        """What copies the old one to the new one."""
        if isinstance(self.target.store, UnboundStore):
            return TenantsCopier(self.store, self.source, self.target)
        return copier_of(self.store, self.source, self.target, may_reuse=True)


class Migration:
    """One migration; made, or found again, by :func:`migrate`.

    Args:
        route: The two collections.
        is_done: Whether the name means the new collection already.
    """

    def __init__(self, route: Route, *, is_done: bool = False) -> None:
        self._route = route
        self._is_done = is_done
        self._copies = route.copies

    @property
    def source(self) -> str:
        """The own name of the old collection."""
        return self._route.source

    @property
    def target(self) -> str:
        """The own name of the new collection."""
        return self._route.target.name

    @property
    def points(self) -> int:
        """How many points the old collection holds that are copied: passages and markers."""
        return self._route.store.count(self.source, COPIED)

    @property
    def is_done(self) -> bool:
        """Whether the name means the new collection."""
        return self._is_done

    def run(
        self, progress: Callable[[MigrationProgress], object] | None = None
    ) -> MigrationProgress:
        """Copy the collection, in passes, until little has changed during one.

        Others search and write meanwhile. After an interruption, a call in another process goes on.

        Args:
            progress: Called after each page of a pass.

        Returns:
            The sum of all passes.

        Raises:
            StoreError: A store failed, or the encoder gave a vector that is not finite.
        """
        done = MigrationProgress()
        if self._is_done:
            return done
        for _ in range(_PASSES):
            found = self._copies.copy_changes(progress)
            done = _sum(done, found)
            if found.changed <= _FEW:
                break
        return done

    def overlap(
        self,
        queries: Sequence[str] = (),
        *,
        old_encoder: Encoder | None = None,
        sample: int = 100,
        limit: int = 10,
    ) -> OverlapReport:
        """Return how much the best hits of both collections have in common.

        Args:
            queries: Embedded as queries, by both encoders. Without any, or without the old encoder,
                passages of the collection are searched by their own vectors.
            old_encoder: The encoder of the old collection.
            sample: How many passages are compared, if no queries are.
            limit: How many hits of each query.

        Of a collection with tenants, queries are searched by those of the most passages, each of
        whom counts, and passages are spread over all tenants.
        """
        route = self._route
        old = Side(store=route.store, name=route.source, encoder=old_encoder)
        new = Side(store=route.target.store, name=self.target, encoder=route.target.encoder)
        if isinstance(new.store, UnboundStore):
            return compare_by_tenant(old, new, queries, sample=sample, limit=limit)
        if queries and old_encoder is not None:
            return compare_queries(old, new, queries, limit=limit)
        return compare_passages(old, new, sample=sample, limit=limit)

    def cut_over(self) -> None:
        """Let the name mean the new collection.

        Writers wait until that is done, and are then refused with
        :class:`~decant.integrations.qdrant.CollectionMovedError`, because they have the old
        collection open; runs of ``index`` are waited for: of this process, and on a server of all
        processes. Searches go on. Runs of tenants are not waited for: they are refused with the
        same error at their next write, because each tenant has a lease of its own.
        If this fails, the old collection is open again; if the process ends, the same call
        completes it.

        Raises:
            StoreError: A store failed, or somebody goes on writing to the old collection.
        """
        if self._is_done:
            return
        route = self._route
        with turn_at(route.store, route.source):
            try:
                self._close()
                what = f"the collection {self.source!r} in {route.store.place}"
                copy_all(self._copies, what)
            except BaseException:
                self._set_source(is_closed=False)
                raise
            self._switch()
        self._is_done = True

    def _close(self) -> None:
        self._set_source(is_closed=True)
        time.sleep(self._route.store.aliases.grace)

    def _switch(self) -> None:
        route, now = self._route, time.time()
        target = route.target.store.aliases
        held = target.note(self.target) or MigrationNote(alias=route.alias, previous=self.source)
        target.set_note(self.target, replace(held, cut_over_at=now))
        target.point(route.alias, self.target)
        self._set_source(is_closed=True, cut_over_at=now)

    def _set_source(self, *, is_closed: bool, cut_over_at: float | None = None) -> None:
        route, aliases = self._route, self._route.store.aliases
        held = aliases.note(self.source) or MigrationNote(alias=route.alias)
        note = replace(
            held,
            following=self.target,
            following_place=route.target.store.place if route.changes_store else None,
            is_closed=is_closed,
        )
        # In the same store the time is noted in the new collection, which outlives the old one.
        at = cut_over_at if route.changes_store else held.cut_over_at
        aliases.set_note(self.source, replace(note, cut_over_at=at))


def _sum(one: MigrationProgress, other: MigrationProgress) -> MigrationProgress:
    return MigrationProgress(
        compared=other.compared,
        total=other.total,
        changed=one.changed + other.changed,
        embedded=one.embedded + other.embedded,
        tokens=one.tokens + other.tokens,
        seconds=one.seconds + other.seconds,
        left_out=other.left_out,
    )
