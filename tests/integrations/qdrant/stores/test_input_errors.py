"""What is given in the place of something else is named, and nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient

from decant.embedders import HashEncoder, Role, StoreError
from decant.integrations.qdrant import Collection, Document, Record, Store, connect

DOCUMENT = Document(source="a", text="one text")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (None, "a folder, an http.s. address or a QdrantClient, and this is a NoneType"),
        (7, "this is a int"),
        (["a"], "this is a list"),
        (b"./index", "this is a bytes"),
    ],
)
def test_what_is_no_place_of_a_store_is_named(place: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        connect(place)


async def test_an_asynchronous_client_is_named_with_what_to_take() -> None:
    client = AsyncQdrantClient(":memory:")
    with pytest.raises(TypeError, match="AsyncQdrantClient; the coroutines of a collection work"):
        connect(client)  # type: ignore[arg-type]
    await client.close()


@pytest.mark.parametrize("opener", [Collection.open, Collection.create, Collection.open_or_create])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("./index", r"this is the str './index'; give what connect\(\) returns"),
        (Path("index"), "Path 'index'; give what connect"),
        (None, "this is a NoneType"),
    ],
)
def test_what_is_no_store_is_named(
    opener: Callable[..., Collection], place: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        opener(place, "docs", HashEncoder(8))


@pytest.mark.parametrize("opener", [Collection.open, Collection.create, Collection.open_or_create])
@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("minilm", r"this is the str 'minilm'; give what load\(\) of decant.embedders returns"),
        (Path("minilm"), "Path 'minilm'; give what load"),
        (None, "this is a NoneType"),
    ],
)
def test_what_is_no_encoder_is_named(
    edge: Store, opener: Callable[..., Collection], encoder: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        opener(edge, "docs", encoder)
    assert edge.names() == []


@pytest.mark.parametrize("name", [None, 7, b"docs", ["docs"]])
def test_a_name_that_is_no_string_is_named(edge: Store, name: Any) -> None:
    with pytest.raises(TypeError, match="the name of a collection is a string, got a"):
        Collection.create(edge, name, HashEncoder(8))


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ("notes", r"index\(\) takes several, got a string of 5 characters; give .*read_documents"),
        (Path("notes"), "got a .*Path"),
        (DOCUMENT, "got a Document"),
        ({"a": "text"}, "got a dict"),
        (None, "got a NoneType"),
        (["text"], r"index\(\) got a string of 4 characters at 0"),
        ([DOCUMENT, Record(text="x")], r"index\(\) got a Record at 1"),
    ],
)
def test_what_are_no_documents_is_named(
    collection: Collection, documents: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        collection.index(documents)
    assert collection.count() == 0


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (
            "text",
            r"add\(\) takes several, got a string of 4 characters; give records",
        ),
        (Record(text="x"), "got a Record"),
        ({"text": "x"}, "got a dict"),
        (None, "got a NoneType"),
        (["text"], r"add\(\) got a string of 4 characters at 0"),
        ([Record(text="x"), DOCUMENT], r"add\(\) got a Document at 1"),
        ([{"text": "x"}], r"add\(\) got a dict at 0"),
    ],
)
def test_what_are_no_records_is_named(collection: Collection, records: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        collection.add(records)
    assert collection.count() == 0


def test_records_may_come_from_a_generator(collection: Collection) -> None:
    records: Any = (Record(id=name, text=name) for name in "ab")
    assert collection.add(records) == ["a", "b"]


@pytest.mark.parametrize("name", ["limit", "offset"])
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (2**64, "more than can be asked for"),
        (2**200, "more than can be asked for"),
        ("5", "is a whole number, got '5'"),
        (2.5, "is a whole number, got 2.5"),
        (None, "is a whole number, got None"),
    ],
)
def test_a_number_of_hits_that_no_engine_takes_is_named(
    years: Collection, name: str, number: Any, message: str
) -> None:
    with pytest.raises(StoreError, match=f"{name}.*{message}"):
        years.search("the year", **{name: number})
    with pytest.raises(StoreError, match=f"{name}.*{message}"):
        years.search_vector(years.encoder.encode(["x"], role=Role.QUERY).dense[0], **{name: number})


def test_the_largest_number_of_hits_is_all(years: Collection) -> None:
    assert len(years.search("the year", limit=2**53)) == 10
    assert years.search("the year", limit=2**53, offset=2**53) == []
