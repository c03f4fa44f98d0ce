"""List and delete what a store holds, without the encoder that filled it.

A :class:`Collection` needs its encoder, but listing and deleting should not load a model. This
module embeds, searches and adds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from decant.embedders import StoreError

from .indexing.delete import Remover
from .points.locks import lock_of
from .points.payloads import DOCUMENTS, PASSAGES, is_own, passages
from .points.provenance import Filling, read_fillings
from .stores.aliases import MigrationNote
from .stores.collection_metadata import CollectionMetadata
from .stores.collection_settings import StoredLayout
from .stores.filters import And, Field, FieldIn
from .stores.input_errors import check_name
from .stores.point_ids import DocumentKey, Kind, record_id
from .stores.protocol import Select, Store, each
from .tenants.unbound_store import UnboundStore, check_tenant_chosen, guarded

_KEY = Select(fields=("root", "source"))
_RECORDS = FieldIn(Field.KIND, (Kind.RECORD,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Numbers of documents and passages.

    Args:
        documents: Documents that were indexed.
        passages: Chunks and records.
    """

    documents: int
    passages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RootHoldings:
    """How much of a root a collection holds.

    Args:
        root: Its name, mostly the path of a folder; None for documents without one.
        documents: How many documents of it were indexed.
    """

    root: str | None
    documents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSummary:
    """The contents of a collection.

    Args:
        name: Its name, or an alias.
        card: Its metadata: recipe, width, whether it has sparse vectors.
        held: How much it holds in all.
        records: How many of the passages are records, which belong to no root.
        roots: The roots of its documents, sorted.
        filled_by: How its vectors were made; empty if that was not recorded.
        layout: How the engine stores it: compression, shards, replicas.
        tenants: The names of its tenants, if it has some, and all is counted; None if not, and for
            the contents of one tenant.
        alias_of: The collection that the name means, if that has another name of its own.
        note: The part that the collection has in migrations, if any.
    """

    name: str
    card: CollectionMetadata
    held: Holdings
    records: int
    roots: tuple[RootHoldings, ...]
    filled_by: tuple[Filling, ...]
    layout: StoredLayout
    tenants: tuple[str, ...] | None = None
    alias_of: str | None = None
    note: MigrationNote | None = None


def summarize(store: Store, name: str) -> CollectionSummary:
    """Return the contents of a collection; this reads the marker of each document.

    Of a collection with tenants it counts those of all; those of one are in the store
    :meth:`TenantStore.of`.

    Raises:
        StoreError: No collection has this name, or it cannot be opened.
    """
    check_name(name)
    called, found = name, store.find(name)
    name, card = found.name, found.card
    tenants = None
    if isinstance(unbound := guarded(store, name, card), UnboundStore):
        tenants = tuple(unbound.tenant_names())
    roots: Counter[str] = Counter()
    for page in each(store, name, DOCUMENTS, Select(fields=("root",))):
        roots.update(str(point.payload["root"]) for point in page)
    return CollectionSummary(
        name=called,
        card=card,
        held=Holdings(documents=roots.total(), passages=store.count(name, PASSAGES)),
        records=store.count(name, _RECORDS),
        roots=tuple(
            RootHoldings(root=root or None, documents=count)
            for root, count in sorted(roots.items())
        ),
        filled_by=read_fillings(store, name),
        layout=store.layout(name),
        tenants=tenants,
        alias_of=None if name == called else name,
        note=store.aliases.note(name),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to delete from a collection: documents and records by name, or passages by id.

    Args:
        sources: Everything of these sources.
        roots: Only documents of these roots; without sources, all of their documents.
        ids: Passages with these ids.

    Raises:
        StoreError: It selects nothing, or ids and something else, or a name is "", which stands for
            having no source or root.
    """

    sources: Sequence[str] = ()
    roots: Sequence[str] = ()
    ids: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, given in (("sources", self.sources), ("roots", self.roots), ("ids", self.ids)):
            if isinstance(given, str):
                raise StoreError(f"{name} takes a list of strings, got one; write [{given!r}]")
            if "" in given:
                raise StoreError(
                    f"one of the {name} is '', which stands for having none; give names, or ids"
                )
        named = bool(self.sources or self.roots)
        if named == bool(self.ids):
            raise StoreError(
                "select by sources and roots, or by ids, and not by both"
                if named
                else "nothing is selected; give sources, roots or ids"
            )

    @property
    def where(self) -> And:
        """The condition for markers and passages that are selected by source and root."""
        parts: list[FieldIn] = []
        if self.sources:
            parts.append(FieldIn(Field.SOURCE, self.sources))
        if self.roots:
            parts.append(FieldIn(Field.ROOT, self.roots))
        return And(parts)


def count_selected(store: Store, name: str, selection: Selection) -> Holdings:
    """Return how much :func:`delete_selected` would delete.

    Raises:
        StoreError: There is no such collection.
    """
    check_name(name)
    found = store.find(name)
    name = found.name
    check_tenant_chosen(store, name, found.card, "selecting from")
    if selection.ids:
        ids = [record_id(identity) for identity in selection.ids]
        return Holdings(documents=0, passages=_count_ids(store, name, ids))
    return Holdings(
        documents=store.count(name, And([DOCUMENTS, selection.where])),
        passages=store.count(name, passages(selection.where)),
    )


def delete_selected(store: Store, name: str, selection: Selection) -> Holdings:
    """Delete documents with their chunks and records, or single passages; return how many.

    Deleted chunks of a document that stays come back when it is next indexed.

    Raises:
        StoreError: There is no such collection.
    """
    check_name(name)
    found = store.find(name)
    name = found.name
    check_tenant_chosen(store, name, found.card, "deleting from")
    remover = Remover(store, name, lock_of(store, name, found.card.mark))
    keys: list[DocumentKey] = []
    if selection.ids:
        removed = remover.ids([record_id(identity) for identity in selection.ids])
    else:
        pages = each(store, name, And([DOCUMENTS, selection.where]), _KEY)
        keys = [DocumentKey.of(point.payload) for page in pages for point in page]
        removed = remover.documents(keys) + remover.matching(selection.where)
    store.flush(name)
    return Holdings(documents=len(keys), passages=removed)


def _count_ids(store: Store, name: str, ids: Sequence[str]) -> int:
    found = store.retrieve(name, list(dict.fromkeys(ids)), Select(fields=("kind",)))
    return sum(not is_own(point) for point in found)
