"""Make a collection of a dump: a new one, which nobody can open before it is complete.

The file is checked as a whole before anything is made. The collection's metadata say from the start
that it is being restored, and from which dump; the last step takes that away. Invariant: a
collection that opens holds all points of its dump.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from uuid import uuid4

from decant.embedders import StoreError
from decant.embedders.log_events import log_event

from ..operations.store_span import store_span
from ..points.locks import lock_of
from ..stores.changes import Owner, TenantsStore
from ..stores.collection_metadata import CollectionMetadata
from ..stores.collection_settings import SHARED_TENANT, Layout, check_only_layout
from ..stores.input_errors import AbsentError, StoreInputError, check_name, present
from ..stores.protocol import TENANT, Point, Select, Store
from ..tenants.tenant_store import UNSHOWN
from .adopted import AdoptedTarget
from .archive import DumpReader
from .contents import DUMPED
from .fill import DumpProgress, fill
from .one_tenant import merge, tenant_view
from .stored_settings import complete, is_server, note_average_length

_IDS = Select(fields=())


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """A collection that was made of a dump.

    Args:
        name: Its name.
        points: How many points it holds.
        documents: How many documents.
        passages: How many chunks and records.
        written: How many points this call wrote; the others were there since an interrupted one.
    """

    name: str
    points: int
    documents: int
    passages: int
    written: int


def restore(
    file: str | Path,
    store: Store,
    name: str,
    *,
    tenant: str | None = None,
    layout: Layout | None = None,
    progress: DumpProgress | None = None,
) -> RestoreReport:
    """Make a collection of a file that :func:`dump` wrote, with its points and vectors.

    No encoder is needed, and indexing the same documents afterwards embeds nothing. Until it is
    complete nobody can open the collection, but for the program that made one that was adopted. An
    interrupted call is completed by the same call, in any process.

    Args:
        file: The file. That it is whole is checked, not who made it.
        store: A folder or a server, whatever the dump was made from; for that of an adopted
            collection a server, or qdrant-client's local mode.
        name: The name of the collection, which must be free; with ``tenant`` that of one that is
            there.
        tenant: The tenant, without points so far, whose points those of the dump become; the dump
            is that of a tenant or of a collection without tenants. Others see nothing of it.
        layout: Where its layout shall differ from that of the dumped collection. Shards, replicas
            and strict mode are kept from server to server alone.
        progress: Called with the number of points done and of all points.

    Raises:
        DumpError: The file is no dump, is damaged or cut, or a newer decant made it.
        CollectionMismatch: The tenant's collection is of another recipe.
        TenantError: ``store`` is that of a tenant, or one is named and the collection has none.
        StoreError: The name is taken, the tenant has points, the engine has no such layout, or the
            store failed.
    """
    check_name(name)
    check_only_layout(layout or Layout())
    with DumpReader(Path(file)) as reader, store_span(store, name, "restore") as span:
        view = tenant_view(store, name, tenant)
        if view is not None:
            if layout not in (None, Layout()):
                raise StoreInputError(
                    f"the layout of {name!r} is that of all its tenants; restore without another "
                    "one (--storage, --originals), and change it with relayout() (`decant "
                    "relayout`)"
                )
            name, written = merge(reader, view, name, progress)
        else:
            written = _whole(reader, store, name, layout or Layout(), progress)
        span.set({"decant.points": reader.header.points})
    header = reader.header
    log_event("restore", {"collection": name, "points": header.points, "written": written})
    return RestoreReport(
        name=name,
        points=header.points,
        documents=header.documents,
        passages=header.passages,
        written=written,
    )


def _whole(
    reader: DumpReader,
    store: Store,
    name: str,
    layout: Layout,
    progress: DumpProgress | None,
) -> int:
    """Make a collection of a dump, and return how many points were written."""
    told = (reader.header.points, progress)
    target: AdoptedTarget | None = None
    if reader.header.is_adopted:
        target = AdoptedTarget(reader, store, name, layout)
        card = _begun(reader, store, name, target.make)
        target.complete_indexes()
    else:
        _check_prefix(reader, layout)

        def make(card: CollectionMetadata) -> None:
            settings = reader.header.settings(card, layout, on_server=is_server(store))
            store.create(name, card, settings)

        card = _begun(reader, store, name, make)
    lock = lock_of(store, name, card.mark)
    with lock.indexing, lock.writing:
        if target is not None:
            written = fill(reader.raw_blocks(), target.there, target.write, told)
        else:
            note_average_length(store, name, reader.header.average_length)
            there = partial(_there, store, name)
            written = fill(reader.blocks(), there, partial(_store, store, name, card), told)
        store.flush(name)
        _check_count(reader, store, name)
        complete(store, name, card)
    return written


def _check_prefix(reader: DumpReader, layout: Layout) -> None:
    if layout.prefix not in (None, reader.card.prefix):
        raise StoreInputError(
            f"the vectors of the dump have prefixes of {reader.card.prefix} values (0: none), "
            "which a restore keeps; restore it as it is, and migrate the collection"
        )


def _begun(
    reader: DumpReader, store: Store, name: str, make: Callable[[CollectionMetadata], None]
) -> CollectionMetadata:
    """Return the metadata of the collection, which is made unless a restore has made it."""
    try:
        held = store.card(name)
    except AbsentError:
        make(replace(reader.card, mark=uuid4().hex, restoring=reader.identity))
        return store.card(name)
    if held.restoring is None:
        raise present(name, store.place)
    if held.restoring != reader.identity:
        raise StoreInputError(
            f"{name!r} in {store.place} is being restored from another dump; complete that with "
            f"its file, or delete what is there with store.drop({name!r}) (`decant drop {name}`)"
        )
    return held


def _there(store: Store, name: str, block: Sequence[Point]) -> set[str]:
    return {point.id for point in store.retrieve(name, [one.id for one in block], _IDS)}


def _store(store: Store, name: str, card: CollectionMetadata, points: Sequence[Point]) -> None:
    is_keyed = card.tenants is not None and card.tenants.dedicated is not None
    if not is_keyed or not isinstance(store, TenantsStore):
        store.upsert(name, points)
        return
    # A request names the shard that its points go to, which is their tenant's.
    of_tenants: defaultdict[str, list[Point]] = defaultdict(list)
    for point in points:
        of_tenants[str(point.payload.get(TENANT, SHARED_TENANT)).removeprefix(UNSHOWN)].append(
            point
        )
    for tenant, own in of_tenants.items():
        store.of_owner(Owner(tenant=tenant), has_shards=True).upsert(name, own)


def _check_count(reader: DumpReader, store: Store, name: str) -> None:
    found, wanted = store.count(name, DUMPED), reader.header.points
    if found != wanted:
        raise StoreError(
            f"{name!r} in {store.place} holds {found} points, and {wanted} were restored: another "
            f"program changed them meanwhile. Delete it with store.drop({name!r}) "
            f"(`decant drop {name}`), and restore again"
        )
