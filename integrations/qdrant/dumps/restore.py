"""Make a collection of a dump: a new one, which nobody can open before it is complete.

The file is checked as a whole before anything is made. The collection's metadata say from the start
that it is being restored, and from which dump; the last step takes that away. Invariant: a
collection that opens holds all points of its dump.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from .archive import DumpReader
from .dump import DUMPED, DumpProgress, check_whole_store
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
    layout: Layout | None = None,
    progress: DumpProgress | None = None,
) -> RestoreReport:
    """Make a collection of a file that :func:`dump` wrote, with its points and vectors.

    No encoder is needed, and indexing the same documents afterwards embeds nothing. Until it is
    complete nobody can open the collection. An interrupted call is completed by the same call, in
    any process.

    Args:
        file: The file. That it is whole is checked, not who made it.
        store: A folder or a server, whatever the dump was made from.
        name: The name of the collection, which must be free.
        layout: Where its layout shall differ from that of the dumped collection. Shards, replicas
            and strict mode are kept from server to server alone.
        progress: Called with the number of points done and of all points.

    Raises:
        DumpError: The file is no dump, is damaged or cut, or a newer decant made it.
        StoreError: The name is taken, the engine has no such layout, or the store failed.
    """
    check_name(name)
    check_whole_store(store, name)
    check_only_layout(layout or Layout())
    with DumpReader(Path(file)) as reader, store_span(store, name, "restore") as span:
        if layout is not None and layout.prefix not in (None, reader.card.prefix):
            raise StoreInputError(
                f"the vectors of {file} have prefixes of {reader.card.prefix} values (0: none), "
                "which a restore keeps; restore it as it is, and migrate the collection"
            )
        card = _begun(reader, store, name, layout or Layout())
        lock = lock_of(store, name, card.mark)
        with lock.indexing, lock.writing:
            note_average_length(store, name, reader.header.average_length)
            written = _fill(reader, store, name, card, progress)
            store.flush(name)
            _check_count(reader, store, name)
            complete(store, name, card)
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


def _begun(reader: DumpReader, store: Store, name: str, layout: Layout) -> CollectionMetadata:
    """Return the metadata of the collection, which is made unless a restore has made it."""
    try:
        held = store.card(name)
    except AbsentError:
        wanted = replace(reader.card, mark=uuid4().hex, restoring=reader.identity)
        settings = reader.header.settings(reader.card, layout, on_server=is_server(store))
        store.create(name, wanted, settings)
        return wanted
    if held.restoring is None:
        raise present(name, store.place)
    if held.restoring != reader.identity:
        raise StoreInputError(
            f"{name!r} in {store.place} is being restored from another dump; complete that with "
            f"its file, or delete what is there with store.drop({name!r}) (`decant drop {name}`)"
        )
    return held


def _fill(
    reader: DumpReader,
    store: Store,
    name: str,
    card: CollectionMetadata,
    progress: DumpProgress | None,
) -> int:
    """Store the points that are not there, and return how many these are."""
    written = done = 0
    for block in reader.blocks():
        there = {point.id for point in store.retrieve(name, [one.id for one in block], _IDS)}
        missing = [one for one in block if one.id not in there]
        _store(store, name, card, missing)
        written += len(missing)
        done += len(block)
        if progress is not None:
            progress(done, reader.header.points)
    return written


def _store(store: Store, name: str, card: CollectionMetadata, points: Sequence[Point]) -> None:
    is_keyed = card.tenants is not None and card.tenants.dedicated is not None
    if not is_keyed or not isinstance(store, TenantsStore):
        if points:
            store.upsert(name, points)
        return
    # A request names the shard that its points go to, which is their tenant's.
    of_tenants: defaultdict[str, list[Point]] = defaultdict(list)
    for point in points:
        of_tenants[str(point.payload.get(TENANT, SHARED_TENANT))].append(point)
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
