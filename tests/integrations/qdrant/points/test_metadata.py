"""What metadata may hold: what is accepted comes back and is found, on every engine.

The rest is refused before anything is stored, with the keys that lead to it.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from qdrant_client import QdrantClient, grpc, models
from qdrant_client.conversions.conversion import grpc_to_payload, payload_to_grpc

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    Document,
    Equals,
    Exists,
    Not,
    Record,
    Store,
    connect,
)
from decant.integrations.qdrant.points.payloads import MOST_NESTED, checked_metadata

KEYS = ["", "a", "a.b", "a[0]", "[]", "it's", '"', "\\", " ", "a\nb", "\0", "größe", "x" * 4_000]


def dicts(levels: int, leaf: object = 1) -> Any:
    for _ in range(levels):
        leaf = {"k": leaf}
    return leaf


def lists(levels: int, leaf: object = 1) -> Any:
    for _ in range(levels):
        leaf = [leaf]
    return leaf


def mixed(levels: int) -> Any:
    held: object = 1
    for level in range(levels):
        held = [held] if level % 2 else {"k": held}
    return held


def itself() -> Any:
    held: dict[str, object] = {}
    held["k"] = [held]
    return held


@pytest.mark.parametrize("nested", [dicts, lists, mixed])
def test_metadata_nested_to_the_limit_are_stored_found_and_there_after_reopening(
    scratch: Path, nested: Callable[[int], Any]
) -> None:
    held = {"deep": nested(MOST_NESTED), "v": 1}
    with connect(scratch / "index") as store:
        docs = Collection.create(store, "docs", HashEncoder(8))
        docs.add([Record(id="a", text="x", metadata=held)])
        docs.index([Document(source="s", text="x", metadata=held)])
    with connect(scratch / "index") as store:
        docs = Collection.open(store, "docs", HashEncoder(8))
        assert [hit.metadata for hit in docs.search("x", where=Equals("v", 1))] == [held, held]
        assert docs.count(Exists("deep")) == 2
        assert docs.count(Not(Exists("deep"))) == 0
        assert docs.get(["a"])[0].metadata == held
        docs.clear()


def test_a_value_at_the_limit_is_found_by_its_keys(collection: Collection) -> None:
    collection.add([Record(id="a", text="x", metadata=dicts(MOST_NESTED + 1))])
    assert collection.count(Equals(("k",) * (MOST_NESTED + 1), 1)) == 1


@pytest.mark.parametrize("nested", [dicts, lists, mixed])
def test_metadata_nested_to_the_limit_pass_through_grpc(nested: Callable[[int], Any]) -> None:
    payload = {"metadata": {"deep": nested(MOST_NESTED)}}
    point = grpc.ScoredPoint(payload=payload_to_grpc(payload))
    batch = grpc.QueryBatchResponse(result=[grpc.BatchResult(result=[point])])
    read = grpc.QueryBatchResponse.FromString(batch.SerializeToString())
    assert grpc_to_payload(read.result[0].result[0].payload) == payload


@pytest.mark.parametrize("nested", [dicts, lists, mixed])
@pytest.mark.parametrize("levels", [MOST_NESTED + 1, 123, 1_000, 100_000])
def test_metadata_nested_deeper_are_refused_with_the_keys(
    nested: Callable[[int], Any], levels: int
) -> None:
    message = r"record 'a' cannot be stored: metadata\['deep'\]\[.*: nested more than 30 levels"
    with pytest.raises(StoreError, match=message):
        Record(id="a", text="x", metadata={"deep": nested(levels)})
    with pytest.raises(StoreError, match=r"document 's' cannot be stored: .*30 levels"):
        Document(source="s", text="x", metadata={"deep": nested(levels)})


def test_metadata_that_hold_themselves_are_refused() -> None:
    with pytest.raises(StoreError, match="or within itself"):
        Record(text="x", metadata=itself())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "nan is not a number of JSON"),
        (-math.inf, "-inf is not a number of JSON"),
        (2**63, "an integer of 64 bits"),
        pytest.param(2**20_000, "an integer of 20001 bits", id="huge"),
        ({1, 2}, "a set is not JSON"),
        (b"x", "a bytes is not JSON"),
        (datetime.time(12), "a time is not JSON"),
        ("a\ud800", "not valid Unicode: a lone surrogate at 1"),
    ],
)
def test_a_value_that_is_not_json_is_refused_with_the_keys(value: Any, message: str) -> None:
    expected = rf"record 'r' cannot be stored: metadata\['a'\]\['b'\]\[1\]: .*{message}"
    with pytest.raises(StoreError, match=expected):
        Record(id="r", text="x", metadata={"a": {"b": [0, value]}})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a": {3: 1}}, r"metadata\['a'\]: the key 3 is a int; keys are strings"),
        ({None: 1}, "the key None is a NoneType"),
        ({"a": {"\ud800": 1}}, r"metadata\['a'\]: .*lone surrogate"),
        ([("a", 1)], "it is a list, not a dict"),
        (None, "it is a NoneType, not a dict"),
    ],
)
def test_a_key_that_is_no_string_is_refused_with_its_place(metadata: Any, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        Record(text="x", metadata=metadata)


def test_a_copy_is_taken_and_other_kinds_of_values_become_plain() -> None:
    given: dict[str, Any] = {"list": [1, (2, 3)], "deep": {"a": 1}}
    copy = checked_metadata(given, owner="x")
    assert copy == {"list": [1, [2, 3]], "deep": {"a": 1}}
    given["list"].append(4)
    given["deep"]["b"] = 2
    assert copy == {"list": [1, [2, 3]], "deep": {"a": 1}}


def values() -> st.SearchStrategy[object]:
    flat = (
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text()
        | st.floats(allow_nan=False, allow_infinity=False)
    )  # fmt: skip
    return st.recursive(
        flat,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys(), inner, max_size=4),
        max_leaves=8,
    )


def keys() -> st.SearchStrategy[str]:
    return st.sampled_from(KEYS) | st.text(max_size=5)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Collection]]:
    """One collection on each engine."""
    client = QdrantClient(":memory:")
    with connect(tmp_path_factory.mktemp("edge")) as edge, connect(client) as local:
        yield [Collection.create(store, "docs", HashEncoder(8)) for store in (edge, local)]
    client.close()


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(keys(), values(), max_size=6))
def test_what_is_accepted_comes_back_from_both_engines(
    engines: list[Collection], metadata: dict[str, Any]
) -> None:
    for collection in engines:
        collection.add([Record(id="a", text="x", metadata=metadata)])
        (passage,) = collection.get(["a"])
        assert same(metadata, passage.metadata), passage.metadata


def same(given: object, back: object) -> bool:
    """Compare as JSON, floats but for what the engines' parser loses."""
    if isinstance(given, dict) and isinstance(back, dict):
        return given.keys() == back.keys() and all(same(given[key], back[key]) for key in given)
    if isinstance(given, list) and isinstance(back, list):
        return len(given) == len(back) and all(map(same, given, back))
    if isinstance(given, float) and isinstance(back, float):
        return abs(given - back) <= (1 if 1e-6 <= abs(given) <= 1e30 else 2) * math.ulp(given)
    return type(given) is type(back) and given == back


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_a_key_finds_what_is_stored_under_it_or_is_refused(
    collection: Collection, key: str
) -> None:
    others = [{other: 1} for other in KEYS if other != key]
    records = [Record(id=str(n), text="x", metadata=held) for n, held in enumerate(others)]
    collection.add([*records, Record(id="here", text="x", metadata={key: 1, "deep": {key: 2}})])
    if not key or '"' in key or "\\" in key:
        with pytest.raises(StoreError, match="cannot address the metadata key"):
            Equals(key, 1)
        return
    assert [passage.id for passage in collection.each(Equals(key, 1))] == ["here"]
    assert [passage.id for passage in collection.each(Equals(("deep", key), 2))] == ["here"]


def test_a_document_whose_floats_the_store_rounded_is_unchanged(store: Store) -> None:
    docs = Collection.create(store, "docs", HashEncoder(8))
    metadata: dict[str, Any] = {"v": [0.1 + number / 7 for number in range(200)]}
    documents = [Document(source="a", text="one text", metadata=metadata, root="r")]
    assert docs.index(documents).added == 1
    again = docs.index(documents)
    assert (again.unchanged, again.changed, again.embedded) == (1, 0, 0)


def test_filters_of_the_client_reach_the_same_depth(edge: Store) -> None:
    docs = Collection.create(edge, "docs", HashEncoder(8))
    docs.add([Record(id="a", text="x", metadata=dicts(MOST_NESTED + 1))])
    path = ".".join(["metadata", *["k"] * (MOST_NESTED + 1)])
    where = models.Filter(must=[models.FieldCondition(key=path, match=models.MatchValue(value=1))])
    assert docs.count(where) == 1
