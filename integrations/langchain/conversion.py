"""Convert LangChain's texts and documents to those of a collection, and back.

Metadata go in and come out unchanged. A ``source`` in them is also the record's source; a passage
whose metadata have none is shown with its own source, and filters see that, too. The same holds
for the place of a chunk in its document, which is shown as ``start_index``, the name that
LangChain's splitters use (``add_start_index``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from numpy.typing import NDArray

from decant.embedders import Encoder, StoreError, TextError

from ..qdrant import Collection, Hit, Passage, Record, Store
from ..qdrant.searching.mmr import cosines
from ..shown import with_source, with_start
from .filters import START


def to_records(
    texts: Iterable[str],
    metadatas: Iterable[Mapping[str, Any] | None] | None,
    ids: Iterable[str | None] | None,
) -> list[Record]:
    """Return one record per text; None among the metadatas means a text without metadata.

    Raises:
        TypeError: ``texts`` or ``ids`` is one string, or ``metadatas`` a string or one mapping; or
            metadata are no mapping.
        ValueError: There are not as many metadatas or ids as texts.
        TextError: A text is not valid Unicode; the message holds its index and its source.
        StoreError: Metadata are not JSON; the message holds the same, and the key.
    """
    for name, given in (("texts", texts), ("ids", ids)):
        if isinstance(given, str):
            raise TypeError(f"{name} takes a list, got one string; write [{given!r}]")
    if isinstance(metadatas, str | Mapping):
        raise TypeError(
            f"metadatas takes one for each text, got one {type(metadatas).__name__}; write [...]"
        )
    held = list(texts)
    described: list[Mapping[str, Any] | None] = (
        [None] * len(held) if metadatas is None else [*metadatas]
    )
    names: list[str | None] = [None] * len(held) if ids is None else [*ids]
    for what, count in (("metadatas", len(described)), ("ids", len(names))):
        if count != len(held):
            raise ValueError(f"got {len(held)} texts and {count} {what}; give one for each")
    rows = zip(held, described, names, strict=True)
    return [
        _record(index, text, metadata, identity)
        for index, (text, metadata, identity) in enumerate(rows)
    ]


def _record(
    index: int, text: str, metadata: Mapping[str, Any] | None, identity: str | None
) -> Record:
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, Mapping):
        raise TypeError(
            f"text {index} has a {type(metadata).__name__} as its metadata; give a dict, or None"
        )
    source = metadata.get("source")
    known = source if isinstance(source, str) else ""
    try:
        return Record(id=identity, text=text, metadata=metadata, source=known)
    except (StoreError, TextError) as error:
        origin = f" of source {known!r}" if known else ""
        raise type(error)(f"text {index}{origin}: {error}") from error


def to_document(passage: Passage) -> Document:
    """Return a stored passage as a LangChain document."""
    metadata = with_start(passage, START, with_source(passage, passage.metadata))
    return Document(id=passage.id, page_content=passage.text, metadata=metadata)


def with_relevance(hits: Sequence[Hit], query: NDArray[np.float32]) -> list[tuple[Document, float]]:
    """Return hits as documents, each with its relevance: ``(cosine + 1) / 2`` of dense vectors.

    Args:
        hits: Each with its vector.
        query: The query's vector, shape ``(D,)``.
    """
    rows = np.array([hit.vector for hit in hits], np.float32).reshape(len(hits), -1)  # (N, D)
    relevance = (cosines(query, rows) + 1.0) / 2.0
    return [(to_document(hit), float(one)) for hit, one in zip(hits, relevance, strict=True)]


def to_collection(
    collection: Collection | str, store: Store | None, encoder: Encoder
) -> Collection:
    """Return the given collection, or open or create the named one, for this encoder.

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
