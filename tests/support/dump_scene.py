"""Collections to dump: what is stored, and what must be there after a restore."""

from __future__ import annotations

from typing import Any

import numpy as np

from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    CollectionSettings,
    Document,
    FieldType,
    PayloadIndex,
    Point,
    Record,
    SearchMode,
    Select,
    Store,
    Words,
)
from decant.integrations.qdrant.dumps.contents import DUMPED
from decant.integrations.qdrant.stores.changes import LEASE
from decant.integrations.qdrant.stores.protocol import each

ENGINES = ["edge", "local", "server"]
ENCODER = HashEncoder(16)
SMALL = Chunking(max_tokens=8)
SETTINGS = CollectionSettings(
    indexed=(PayloadIndex(key="number", type=FieldType.INTEGER),),
    hnsw_m=24,
    hnsw_ef_construct=64,
    words=Words(),
)
QUERIES = ("the record of the year", "the end of document 7", "paragraph of the topic")


def documents(count: int = 30) -> list[Document]:
    """Return documents of one to four chunks."""
    return [
        Document(
            source=f"doc-{number}",
            root="r",
            text="\n\n".join(
                f"paragraph {part} of the topic {number}" for part in range(number % 4)
            )
            + f"\n\nthe end of document {number}",
            metadata={"umlaut": "für — 漢字", "share": number / 7},
        )
        for number in range(count)
    ]


def fill(collection: Collection) -> Collection:
    """Store documents and records, one of which is blank and has no vector."""
    collection.index(documents(), chunking=SMALL)
    collection.add(
        [
            Record(
                id=f"record-{number}",
                text=f"the record {number} of the year {number % 9}" if number else " ",
                metadata={"number": number},
            )
            for number in range(20)
        ]
    )
    return collection


def made(store: Store, name: str = "docs") -> Collection:
    """Return a new, filled collection."""
    return fill(Collection.create(store, name, ENCODER, settings=SETTINGS))


def held_points(store: Store, name: str) -> dict[str, Point]:
    """Return all points of a collection with their vectors, by their ids; no lease of a server."""
    card = store.card(name)
    fetch = Select(dense=True, sparse=card.sparse, soft_tokens=card.soft_tokens is not None)
    points = (point for page in each(store, name, DUMPED, fetch) for point in page)
    return {point.id: point for point in points if point.payload.get("note") != LEASE}


def assert_same_points(found: dict[str, Point], wanted: dict[str, Point]) -> None:
    """Compare points: payloads exactly, vectors within the rounding of engines."""
    assert found.keys() == wanted.keys()
    for identity, point in wanted.items():
        other = found[identity]
        assert other.payload == point.payload
        _assert_close(other.dense, point.dense)
        _assert_close(other.soft_tokens, point.soft_tokens)
        assert (other.sparse is None) == (point.sparse is None)
        if other.sparse is not None and point.sparse is not None:
            order, wanted_order = other.sparse.indices.argsort(), point.sparse.indices.argsort()
            assert (other.sparse.indices[order] == point.sparse.indices[wanted_order]).all()
            _assert_close(other.sparse.values[order], point.sparse.values[wanted_order])


def hits(collection: Collection) -> list[dict[str, float]]:
    """Return what searches of each mode find, with the scores."""
    return [
        {hit.id: hit.score for hit in collection.search(query, limit=200, mode=mode)}
        for query in QUERIES
        for mode in (SearchMode.DENSE, SearchMode.WORDS, SearchMode.HYBRID)
    ]


def _assert_close(found: Any, wanted: Any) -> None:
    assert (found is None) == (wanted is None)
    if found is not None:
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)
