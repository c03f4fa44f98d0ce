"""What a store holds, and how parts of it leave, without an encoder, on both engines."""

from __future__ import annotations

import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    Document,
    Holdings,
    Record,
    RootHoldings,
    Selection,
    Store,
    count_selected,
    delete_selected,
    summarize,
)


@pytest.fixture
def filled(collection: Collection) -> Store:
    """Return a store whose collection ``docs`` has three roots and records."""
    collection.index(
        [
            Document(source="a", text="one", root="/old"),
            Document(source="b", text="two", root="/old"),
            Document(source="a", text="one", root="/new"),
            Document(source="a", text="of no root"),
        ]
    )
    collection.add([Record(id="r", text="three", source="a"), Record(id="s", text="four")])
    return collection.store


def test_a_collection_is_summed_up(filled: Store, encoder: HashEncoder) -> None:
    found = summarize(filled, "docs")
    assert (found.name, found.card.recipe, found.card.dim) == ("docs", encoder.recipe, 16)
    assert (found.held, found.records) == (Holdings(documents=4, passages=6), 2)
    assert found.roots == (
        RootHoldings(root=None, documents=1),
        RootHoldings(root="/new", documents=1),
        RootHoldings(root="/old", documents=2),
    )


@pytest.mark.parametrize(
    ("chosen", "held"),
    [
        (Selection(roots=("/old",)), Holdings(documents=2, passages=2)),
        (Selection(sources=("a",)), Holdings(documents=3, passages=4)),
        (Selection(sources=("a",), roots=("/old", "/new")), Holdings(documents=2, passages=2)),
        (Selection(ids=("r", "r", "nope")), Holdings(documents=0, passages=1)),
        (Selection(roots=("nope",)), Holdings(documents=0, passages=0)),
    ],
)
def test_what_is_counted_is_what_goes(filled: Store, chosen: Selection, held: Holdings) -> None:
    before = summarize(filled, "docs").held
    assert count_selected(filled, "docs", chosen) == held
    assert summarize(filled, "docs").held == before
    assert delete_selected(filled, "docs", chosen) == held
    after = summarize(filled, "docs").held
    assert after.documents == before.documents - held.documents
    assert after.passages == before.passages - held.passages
    assert count_selected(filled, "docs", chosen) == Holdings(documents=0, passages=0)


def test_a_chunk_deleted_by_its_id_comes_back_with_its_document(
    filled: Store, encoder: HashEncoder
) -> None:
    docs = Collection.open(filled, "docs", encoder)
    (chunk,) = [passage for passage in docs.each() if passage.source == "b"]
    assert delete_selected(filled, "docs", Selection(ids=(chunk.id,))).passages == 1
    again = [
        Document(source="a", text="one", root="/old"),
        Document(source="b", text="two", root="/old"),
    ]
    assert docs.index(again).changed == 1
    assert docs.get([chunk.id]) == [chunk]


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"ids": ("r",), "sources": ("a",)},
        {"ids": ("r",), "roots": ("/old",)},
        {"sources": ("",)},
        {"roots": ("/old", "")},
        {"ids": "r"},
        {"roots": "/old"},
    ],
)
def test_a_selection_that_could_mean_too_much_is_refused(
    chosen: dict[str, tuple[str, ...]],
) -> None:
    with pytest.raises(StoreError):
        Selection(**chosen)


def test_a_collection_that_is_not_there_is_named(filled: Store) -> None:
    for ask in (count_selected, delete_selected):
        with pytest.raises(StoreError, match="no collection 'nope'"):
            ask(filled, "nope", Selection(roots=("/old",)))
    with pytest.raises(StoreError, match="no collection 'nope'"):
        summarize(filled, "nope")
