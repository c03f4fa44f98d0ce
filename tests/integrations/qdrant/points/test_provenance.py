"""A collection says which precisions filled it, and which one asks."""

from __future__ import annotations

from typing import Any

import pytest

from decant.embedders import HashEncoder, Precision, Role
from decant.integrations.qdrant import (
    Collection,
    Document,
    Filling,
    Record,
    Select,
    Store,
)
from decant.integrations.qdrant.points.handle import Target
from decant.integrations.qdrant.points.payloads import NOTES
from decant.integrations.qdrant.stores.protocol import each
from stores import Between

FP32 = Filling("fp32", "HashEncoder")
INT8 = Filling("int8", "CPUExecutionProvider")


class Int8(HashEncoder):
    """Says that it runs in eight bits; its recipe is the same, as a converted bundle's is."""

    provider = "CPUExecutionProvider"

    @property
    def precision(self) -> Precision:
        return Precision.INT8


class Silent(HashEncoder):
    """Does not say what it runs in, as a caller's own encoder need not."""

    def __getattribute__(self, name: str) -> Any:
        if name == "precision":
            raise AttributeError(name)
        return super().__getattribute__(name)


def test_a_new_collection_was_filled_by_nothing(collection: Collection) -> None:
    info = collection.info()
    assert info.filled_by == ()
    assert info.asked_by == FP32
    assert not info.is_mixed


def test_indexing_and_adding_note_the_precision(store: Store) -> None:
    first = Collection.create(store, "docs", HashEncoder(16))
    first.index([Document(source="a", text="a")])
    assert first.info().filled_by == (FP32,)
    second = Collection.open(store, "docs", Int8(16))
    info = second.info()
    assert (info.filled_by, info.asked_by) == ((FP32,), INT8)
    assert info.is_mixed, "queries in int8 meet passages in fp32"
    second.add([Record(id="b", text="b")])
    assert first.info().filled_by == (FP32, INT8)
    assert first.info().is_mixed
    assert str(INT8) == "int8 on CPUExecutionProvider"


def test_a_run_that_mixes_precisions_says_so_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    first = Collection.create(store, "docs", HashEncoder(16))
    first.index([Document(source="a", text="a")])
    assert not caplog.records
    second = Collection.open(store, "docs", Int8(16))
    second.add([Record(id="b", text="b")])
    second.add([Record(id="c", text="c")])
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("the collection 'docs' holds vectors in fp32 and gets others in int8")


def test_vectors_that_were_given_are_noted_as_such(collection: Collection) -> None:
    vectors = collection.encoder.encode(["a"], role=Role.PASSAGE)
    collection.add([Record(id="a", text="a")], vectors=vectors)
    assert collection.info().filled_by == (Filling("given"),)
    assert not collection.info().is_mixed


def test_what_embeds_nothing_notes_nothing(store: Store) -> None:
    first = Collection.create(store, "docs", HashEncoder(16))
    first.index([Document(source="a", text="a")])
    second = Collection.open(store, "docs", Int8(16))
    second.index([Document(source="a", text="a"), Document(source="b", text="a")])
    second.add([])
    assert second.info().filled_by == (FP32,)


def test_what_an_older_decant_filled_is_unknown(store: Store) -> None:
    collection = Collection.create(store, "docs", HashEncoder(16))
    collection.add([Record(id="a", text="a")])
    notes = [point.id for page in each(store, "docs", NOTES, Select()) for point in page]
    store.delete("docs", notes)
    again = Collection.open(store, "docs", HashEncoder(16))
    assert again.info().filled_by == ()
    assert again.search("a")[0].text == "a"
    again.add([Record(id="b", text="b")])
    assert again.info().filled_by == (FP32, Filling("unknown"))
    assert not again.info().is_mixed


def test_an_encoder_that_does_not_say_is_unknown(store: Store) -> None:
    collection = Collection.create(store, "docs", Silent(16))
    collection.add([Record(id="a", text="a")])
    assert collection.info().filled_by == (Filling("unknown", "Silent"),)


def test_it_is_noted_once_for_each_opened_collection(store: Store) -> None:
    requests: list[str] = []
    for operation in ("upsert", "scroll"):
        Collection.open_or_create(store, "docs", HashEncoder(16)).clear()
        counted: Any = Between(store, operation, lambda _: requests.append(operation))  # noqa: B023
        counted.scroll = _counted(store, requests) if operation == "scroll" else store.scroll
        collection = Collection(
            Target(store=counted, name="docs", mark="noted", encoder=HashEncoder(16), sparse=False)
        )
        collection.add([Record(id="a", text="a")])
        first = len(requests)
        requests.clear()
        collection.add([Record(id="b", text="b")])
        assert (first, len(requests)) == ((2, 1) if operation == "upsert" else (2, 0))
        requests.clear()


def _counted(store: Store, requests: list[str]) -> Any:
    def scroll(*arguments: Any, **named: Any) -> Any:
        requests.append("scroll")
        return store.scroll(*arguments, **named)

    return scroll
