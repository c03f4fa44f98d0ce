"""What LangChain passes around, as a collection has it, and back: texts, documents, filters.

Metadata go in and come out exactly as they are. A ``source`` in them is also the record's source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.documents import Document

from decant.embedders import Encoder

from ..qdrant import All, Collection, Equals, Passage, Record, Store

if TYPE_CHECKING:
    from ..qdrant.conditions import Where

Filter: TypeAlias = "Where | Mapping[str, str | int | float | bool]"
"""A condition, a ``models.Filter``, or metadata entries that must all be equal to these."""


def to_records(
    texts: Iterable[str],
    metadatas: Sequence[Mapping[str, Any]] | None,
    ids: Sequence[str | None] | None,
) -> list[Record]:
    """Return one record per text.

    Raises:
        TypeError: ``texts`` is one string.
        ValueError: There are not as many metadatas or ids as texts.
        TextError: A text is empty.
        StoreError: Metadata are not JSON.
    """
    if isinstance(texts, str):
        raise TypeError("expected several texts, got one string; write [text]")
    held = list(texts)
    for what, given in (("metadatas", metadatas), ("ids", ids)):
        if given is not None and len(given) != len(held):
            raise ValueError(f"got {len(held)} texts and {len(given)} {what}; give one for each")
    return [
        Record(id=identity, text=text, metadata=metadata, source=_source(metadata))
        for text, metadata, identity in zip(
            held, metadatas or [{}] * len(held), ids or [None] * len(held), strict=True
        )
    ]


def to_document(passage: Passage) -> Document:
    """Return a stored passage as LangChain has it."""
    metadata: dict[str, Any] = dict(passage.metadata)
    if passage.source:  # a chunk of Collection.index keeps its source beside its metadata
        metadata.setdefault("source", passage.source)
    return Document(id=passage.id, page_content=passage.text, metadata=metadata)


def to_condition(wanted: Filter | None) -> Where | None:
    """Return a filter in the collection's form.

    Raises:
        StoreError: A mapping is empty, or a value cannot be compared.
    """
    if not isinstance(wanted, Mapping):
        return wanted
    return All([Equals(key, value) for key, value in wanted.items()])


def to_collection(
    collection: Collection | str, store: Store | None, encoder: Encoder
) -> Collection:
    """Return the collection that a name in a store means, or the one given, for this encoder.

    Raises:
        TypeError: There is a name without a store, or a collection with one.
        CollectionMismatch: The collection belongs to another recipe.
    """
    if isinstance(collection, Collection):
        if store is not None:
            raise TypeError("got a collection and a store; a collection already has its store")
        return Collection.open(collection.store, collection.name, encoder)
    if store is None:
        raise TypeError(
            f"where is the collection {collection!r}? Pass store= as a folder, a URL or a store "
            "from connect(), or collection= as a Collection"
        )
    return Collection.open_or_create(store, collection, encoder)


def _source(metadata: Mapping[str, Any]) -> str:
    source = metadata.get("source")
    return source if isinstance(source, str) else ""
