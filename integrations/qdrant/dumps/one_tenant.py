"""The part of one tenant: what a dump holds of it, and how it comes into a collection with tenants.

A dump of one tenant is that of a collection without tenants, which holds the tenant's points as the
tenant sees them, and no key. So it restores into a collection of its own, and any such dump into a
tenant. While that lasts the points have a name that no tenant can have; they get the tenant's when
all are there. Invariant: whoever looks finds nothing of the dump before all of it is stored, and
other tenants' points are never touched.
"""

from __future__ import annotations

from dataclasses import replace

from decant.embedders import CollectionMismatch, StoreError

from ..points.locks import lock_of
from ..points.payloads import PASSAGES
from ..stores.aliases import FoundCollection
from ..stores.collection_metadata import CollectionMetadata
from ..stores.filters import Field, FieldIn
from ..stores.input_errors import StoreInputError, TenantError
from ..stores.point_ids import Kind, note_id
from ..stores.protocol import Payload, Point, Select, Store, each
from ..tenants.tenant_store import TenantStore
from ..tenants.unbound_store import UnboundStore
from .archive import DumpReader
from .contents import DUMPED
from .fill import DumpProgress, fill

_IDS = Select(fields=())
_PAGE = 512
_MOST_NAMED = 8
_UNFINISHED = "restoring"
_MARK_ID = note_id(_UNFINISHED)
_TEXTS = FieldIn(Field.KIND, (Kind.CHUNK, Kind.RECORD, Kind.DOCUMENT))


def tenant_view(store: Store, name: str, tenant: str | None) -> TenantStore | None:
    """Return the store of the tenant whose points are meant; None: those of the whole collection.

    Args:
        store: What :func:`connect` returned.
        name: The collection, or an alias.
        tenant: The tenant, if one is named.

    Raises:
        TenantError: ``store`` is that of a tenant, or of an open collection, or the collection has
            no tenants.
    """
    if isinstance(store, TenantStore | UnboundStore):
        raise TenantError(
            f"a dump holds what all tenants have in {name!r}, or what one has that is named "
            "(tenant=…, --tenant); give the store that connect() returned, not that of a tenant"
        )
    return None if tenant is None else TenantStore.of(store, name, tenant)


def check_has_points(view: TenantStore, whole: Store, name: str) -> None:
    """Refuse to dump a tenant that has no points, whose name is probably another.

    Raises:
        StoreInputError: The message names those that have some.
    """
    if _count(view, name):
        return
    names = UnboundStore(whole, name).tenant_names()
    shown = ", ".join(map(repr, names[:_MOST_NAMED])) or "no tenant has"
    more = " …" if len(names) > _MOST_NAMED else ""
    raise StoreInputError(
        f"the tenant {view.tenant!r} has no points in {name!r} at {view.place}, so there is "
        f"nothing to dump; tenants with points: {shown}{more}"
    )


def alone(card: CollectionMetadata) -> CollectionMetadata:
    """Return the metadata of a collection with the points of one tenant."""
    return replace(card, tenants=None, tenant_key="")


def merge(
    reader: DumpReader, view: TenantStore, name: str, progress: DumpProgress | None
) -> tuple[str, int]:
    """Make the points of a dump those of a tenant that has none; others are not touched.

    An interrupted call is completed by the same call. One with another dump begins anew, if none of
    the first one's points are shown yet.

    Args:
        reader: The dump, of a collection without tenants.
        view: The store of the tenant.
        name: The collection, or an alias.
        progress: Called with the number of points done and of all points.

    Returns:
        The collection's own name, and how many points were written.

    Raises:
        StoreInputError: The tenant has points already.
        CollectionMismatch: The vectors are of another recipe, or of other kinds.
        StoreError: Others wrote for the tenant meanwhile, or the store failed.
    """
    found = view.find(name)
    _check_fits(reader, found, view)
    name, unshown = found.name, view.unshown
    lock = lock_of(view, name, found.card.mark)
    with lock.turn.held(view, name), lock.indexing, lock.writing:
        lock.noted.clear()
        _begin(reader.identity, view, unshown, name)
        shown = 0

        def there(block: list[Point]) -> set[str]:
            nonlocal shown
            ids = [point.id for point in block]
            own = {one.id for one in view.retrieve(name, ids, _IDS)}
            shown += sum(one.id in own and not _is_note(one) for one in block)
            return own | {one.id for one in unshown.retrieve(name, ids, _IDS)}

        def write(points: list[Point]) -> None:
            unshown.upsert(name, points)

        written = fill(reader.blocks(), there, write, (reader.header.points, progress))
        if _count(view, name) != shown:
            raise _others(view, name)
        unshown.flush(name)
        _show(view, unshown, name)
        view.flush(name)
        if _count(view, name) != reader.header.documents + reader.header.passages:
            raise _others(view, name)
        unshown.delete(name, [_MARK_ID])
    return name, written


def _check_fits(reader: DumpReader, found: FoundCollection, view: TenantStore) -> None:
    """Refuse a dump whose points do not belong into the collection."""
    held, given, where = found.card, reader.card, f"the collection {found.name!r} in {view.place}"
    if reader.header.is_adopted or given.tenants is not None:
        kind = "an adopted collection" if reader.header.is_adopted else "all of several tenants"
        raise StoreInputError(
            f"the dump holds {kind}, and what is restored for one tenant is a dump of one "
            "(dump(…, tenant=…), --tenant) or of a collection without tenants; nothing was written"
        )
    if held.recipe.digest() != given.recipe.digest() or held.dim != given.dim:
        raise CollectionMismatch(
            f"{where} was filled by {held.recipe.base} ({held.recipe.digest()}, {held.dim} values) "
            f"and the dump by {given.recipe.base} ({given.recipe.digest()}, {given.dim} values); "
            "nothing was written. Restore it into a collection of its own, and migrate that"
        )
    kinds = {
        "sparse vectors": (held.sparse, given.sparse),
        "soft tokens": (held.soft_tokens, given.soft_tokens),
        "token vectors": (held.token_vectors, given.token_vectors),
    }
    differ = [kind for kind, (one, other) in kinds.items() if one != other]
    if differ:
        raise CollectionMismatch(
            f"{where} and the dump differ in their {', '.join(differ)}; nothing was written. "
            "Restore it into a collection of its own"
        )


def _begin(identity: str, view: TenantStore, unshown: TenantStore, name: str) -> None:
    """Note which dump is being restored, unless that is noted; refuse a tenant that has points."""
    fetch = Select(fields=("dump",))
    noted = [one.payload.get("dump") for one in unshown.retrieve(name, [_MARK_ID], fetch)]
    if noted == [identity]:
        return
    if count := _count(view, name):
        raise StoreInputError(
            f"the tenant {view.tenant!r} has {count} points in {name!r} at {view.place} already, "
            "and nothing was written; restore under the name of another tenant, or delete what it "
            f"has first with tenant({view.tenant!r}).clear()"
        )
    for page in each(unshown, name, DUMPED, _IDS, page=_PAGE):  # of a dump that nobody completed
        unshown.delete(name, [point.id for point in page])
    payload: Payload = {"kind": Kind.NOTE.value, "note": _UNFINISHED, "dump": identity}
    unshown.upsert(name, [Point(id=_MARK_ID, payload=payload)])


def _show(view: TenantStore, unshown: TenantStore, name: str) -> None:
    """Give the points the tenant's name: passages first, then the markers that say so of them."""
    for where in (PASSAGES, DUMPED):
        for page in each(unshown, name, where, _IDS, page=_PAGE):
            view.show(name, [point.id for point in page if point.id != _MARK_ID])


def _count(view: TenantStore, name: str) -> int:
    """Return how many passages and markers a tenant has; notes alone say nothing of any."""
    return view.count(name, _TEXTS)


def _is_note(point: Point) -> bool:
    return point.payload.get("kind") == Kind.NOTE


def _others(view: TenantStore, name: str) -> StoreError:
    return StoreError(
        f"the tenant {view.tenant!r} has points in {name!r} at {view.place} that are not of the "
        "dump: another program wrote them while it was restored. Delete what it has with "
        f"tenant({view.tenant!r}).clear(), and restore again"
    )
