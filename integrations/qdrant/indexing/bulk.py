"""Load many passages before the vector index over them is built.

Only servers build an index while they are written to. On Edge, and in the client's local mode,
there is nothing to defer. Invariant: an index that is deferred while no load is under way in this
process was left by one that ended unexpectedly, and the next one or the next run turns it on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from decant.embedders.log_events import log_event

from ..points.locks import CollectionLock
from ..stores.changes import DeferringStore
from ..stores.input_errors import TenantError
from ..stores.protocol import Store
from ..tenants.tenant_store import TenantStore
from ..tenants.unbound_store import UnboundStore


@contextmanager
def bulk_load(store: Store, name: str, lock: CollectionLock) -> Iterator[None]:
    """Defer the vector index in the block; see :meth:`Collection.bulk`."""
    if isinstance(store, TenantStore):
        raise TenantError(
            f"the vector index of {name!r} is that of all tenants; call bulk() of the collection "
            f"without a tenant, and load the tenant {store.tenant!r} in the block"
        )
    whole = store.whole if isinstance(store, UnboundStore) else store
    if not isinstance(whole, DeferringStore):
        yield
        return
    with lock.bulk_load() as is_outermost:
        whole.defer_index(name)
        try:
            yield
        finally:
            if is_outermost():
                whole.build_deferred(name)


def end_deferral(store: Store, name: str, lock: CollectionLock) -> None:
    """Turn the vector index on that an interrupted load has left deferred."""
    if not isinstance(store, DeferringStore) or lock.is_bulk_loading or not store.is_deferred(name):
        return
    if store.build_deferred(name):
        log_event("deferred_index_built", {"collection": name}, level=logging.WARNING)
