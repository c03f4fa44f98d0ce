"""Migrate a collection with tenants: the points of each through its own view, on both sides.

A view shows the ids that points have without tenants, so both collections are compared as others
are, although their keys differ (``tenants/tenant_ids.py``); texts, vectors and notes of one tenant
never serve another. Tenants are counted anew before each pass, so those that appeared since the
last one are copied, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from time import monotonic

import numpy as np

from ..points.handle import Target
from ..points.locks import CollectionLock, lock_of
from ..points.payloads import PASSAGES
from ..stores.aliases import FoundCollection
from ..stores.input_errors import StoreInputError
from ..stores.protocol import Store
from ..tenants.tenant_store import TenantStore
from ..tenants.unbound_store import UnboundStore, whole_store
from .copier import COPIED, MigrationProgress, copier_of
from .overlap import OverlapReport, Side, combined, compare_passages, compare_queries

_ASKED = 8  # tenants by which queries are compared


class TenantsCopier:
    """Copies a collection with tenants to another one, tenant by tenant.

    Args:
        store: The store of the first.
        source: Its own name.
        target: The other, with its encoder.
        is_back: Whether the other one was used before: then all vectors are made anew, and while a
            tenant is copied, nobody else in it writes to that one.
    """

    def __init__(self, store: Store, source: str, target: Target, *, is_back: bool = False) -> None:
        self._store = store
        self._source = source
        self._target = target
        self._is_back = is_back

    def copy_changes(
        self, progress: Callable[[MigrationProgress], object] | None = None
    ) -> MigrationProgress:
        """Compare all points of all tenants once, and copy and delete what differs.

        Args:
            progress: Called after each page of a tenant, with the counts of all so far.
        """
        target = self._target
        old, new = _Tenants(self._store, self._source), _Tenants(target.store, target.name)
        counts, started = old.count(), monotonic()
        done = MigrationProgress(total=sum(counts.values()))
        for tenant in sorted({*counts, *new.count()}):
            before = done

            def tell(part: MigrationProgress, before: MigrationProgress = before) -> None:
                if progress is not None:
                    progress(_after(before, part, started))

            done = _after(done, self._copy(old.of(tenant), new.of(tenant), tell), started)
        return done

    def _copy(
        self, old: TenantStore, new: TenantStore, tell: Callable[[MigrationProgress], object]
    ) -> MigrationProgress:
        target = replace(self._target, store=new)
        turn = _held(new, target.name, target.mark) if self._is_back else nullcontext()
        with turn:
            copier = copier_of(old, self._source, target, may_reuse=not self._is_back)
            return copier.copy_changes(tell)


@contextmanager
def turn_at(store: Store, name: str) -> Iterator[None]:
    """Hold the turn of this process at a collection, and its locks, in the block.

    Of a collection with tenants, whose runs each have a turn of their tenant, it is that of what
    concerns them all, such as another migration.

    Args:
        store: The store of the collection.
        name: Its own name.
    """
    card = store.card(name)
    own = store if card.tenants is None else TenantStore.of_all(store, name, card)
    with _held(own, name, card.mark):
        yield


def compare_by_tenant(
    old: Side, new: Side, queries: Sequence[str], *, sample: int, limit: int
) -> OverlapReport:
    """Return the overlap of hits within each tenant; see :meth:`Migration.overlap`.

    Raises:
        StoreInputError: No tenant has a passage with a vector.
    """
    tenants, others = _Tenants(old.store, old.name), _Tenants(new.store, new.name)
    counts = tenants.count_passages()
    reports = []
    if queries and old.encoder is not None:
        largest = sorted(counts, key=lambda tenant: (-counts[tenant], tenant))[:_ASKED]
        for tenant in largest:
            sides = (replace(old, store=tenants.of(tenant)), replace(new, store=others.of(tenant)))
            reports.append(compare_queries(*sides, queries, limit=limit))
        return combined(reports, limit, by_passages=False)
    for tenant, size in _spread(counts, sample).items():
        sides = (replace(old, store=tenants.of(tenant)), replace(new, store=others.of(tenant)))
        try:
            reports.append(compare_passages(*sides, sample=size, limit=limit))
        except StoreInputError:
            continue  # its passages have no vectors
    return combined(reports, limit, by_passages=True)


class _Tenants:
    """The tenants of one collection.

    Args:
        store: Its store, which may refuse points.
        name: Its own name.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = whole_store(store, f"migrating {name!r}")
        self._unbound = UnboundStore(self._store, name)
        self._found = FoundCollection(name=name, card=self._store.card(name))

    def of(self, tenant: str) -> TenantStore:
        """Return the store of one tenant."""
        return TenantStore.of_found(self._store, self._found, tenant)

    def count(self) -> dict[str, int]:
        """Return how many points each tenant has that are copied."""
        return self._unbound.count_by_tenant(COPIED)

    def count_passages(self) -> dict[str, int]:
        """Return how many passages each tenant has."""
        return self._unbound.count_by_tenant(PASSAGES)


@contextmanager
def _held(store: Store, name: str, mark: str) -> Iterator[None]:
    lock: CollectionLock = lock_of(store, name, mark)
    with lock.turn.held(store, name), lock.indexing, lock.writing:
        yield


def _spread(counts: Mapping[str, int], sample: int) -> dict[str, int]:
    """Return how many passages of each tenant are in a sample that is spread over all passages."""
    tenants, total = list(counts), sum(counts.values())
    ends = np.cumsum([counts[tenant] for tenant in tenants])
    places = np.unique(np.linspace(0, max(total - 1, 0), min(sample, total), dtype=int))
    owners = np.searchsorted(ends, places, side="right")
    return dict(Counter(tenants[int(owner)] for owner in owners))


def _after(before: MigrationProgress, part: MigrationProgress, started: float) -> MigrationProgress:
    """Return the counts of the tenants before together with those of one more."""
    return MigrationProgress(
        compared=before.compared + part.compared,
        total=before.total,
        changed=before.changed + part.changed,
        embedded=before.embedded + part.embedded,
        tokens=before.tokens + part.tokens,
        seconds=monotonic() - started,
        left_out=before.left_out + part.left_out,
    )
