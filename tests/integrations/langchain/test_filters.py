"""LangChain's dictionaries of operators mean what a loop over the shown documents says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from operator import ge, gt, le, lt
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from langchain_core.documents import Document
from qdrant_client import models

from decant.embedders import StoreError
from decant.integrations.langchain import DecantVectorStore
from decant.integrations.qdrant import Collection, Equals, Range, Record
from decant.integrations.qdrant import Document as SourceDocument

FACTS: dict[str, dict[str, Any]] = {
    "oak": {"kind": "tree", "year": 1900, "tags": ["old", "hard"], "seen": "2024-01-31"},
    "birch": {"kind": "tree", "year": 1950, "height": 15.5, "seen": "2024-02-01T08:00:00+02:00"},
    "sea": {"kind": "water", "year": 2000, "tags": [], "place": {"country": "NO"}},
    "stone": {"kind": None, "is_hard": True, "place.country": "SE", "$odd": 1},
}


@pytest.fixture
def trees(collection: Collection) -> DecantVectorStore:
    made = DecantVectorStore(collection)
    made.add_texts(list(FACTS), list(FACTS.values()), ids=list(FACTS))
    return made


def met(store: DecantVectorStore, wanted: Any) -> list[str]:
    return sorted(str(one.id) for one in store.similarity_search("a text", k=99, filter=wanted))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"year": {"$gte": 1950}}, ["birch", "sea"]),
        ({"year": {"$gt": 1900, "$lt": 2000}}, ["birch"]),
        ({"year": {"$between": [1900, 1950]}}, ["birch", "oak"]),
        ({"year": {"$between": [1950, 1900]}}, []),
        ({"kind": {"$eq": "tree"}, "year": {"$lte": 1900}}, ["oak"]),
        ({"kind": {"$ne": "tree"}}, ["sea", "stone"]),
        ({"kind": {"$in": ["water", "tree"]}}, ["birch", "oak", "sea"]),
        ({"kind": {"$nin": ["water"]}}, ["birch", "oak", "stone"]),
        ({"kind": {"$in": []}}, []),
        ({"kind": {"$nin": []}}, sorted(FACTS)),
        ({"kind": {"$exists": True}}, ["birch", "oak", "sea"]),
        ({"tags": {"$exists": False}}, ["birch", "sea", "stone"]),
        ({"tags": {"$in": ["hard"]}}, ["oak"]),
        ({"is_hard": {"$eq": True}}, ["stone"]),
        ({"place.country": {"$in": ["NO", "SE"]}}, ["sea", "stone"]),
        ({"$or": [{"year": 1900}, {"kind": "water"}]}, ["oak", "sea"]),
        ({"$or": [{"year": 1900}, {"kind": {"$in": []}}]}, ["oak"]),
        ({"$and": [{"kind": "tree"}, {"year": {"$lt": 1950}}]}, ["oak"]),
        ({"$and": [{}, {"kind": {"$nin": []}}]}, sorted(FACTS)),
        ({"$not": {"kind": "tree"}}, ["sea", "stone"]),
        ({"$not": [{"kind": "tree"}, {"year": 2000}]}, ["stone"]),
        ({"$not": {}}, []),
        ({"year": {"$not": {"$gte": 1950}}}, ["oak", "stone"]),
        ({"kind": "tree", "$or": [{"year": 1900}, {"year": 2000}]}, ["oak"]),
        ({"$and": [Range("year", gt=1900), {"kind": "tree"}]}, ["birch"]),
        (
            {
                "$not": models.Filter(
                    must=[
                        models.FieldCondition(
                            key="metadata.kind", match=models.MatchValue(value="tree")
                        )
                    ]
                )
            },
            ["sea", "stone"],
        ),
        ({"seen": {"$gte": date(2024, 2, 1)}}, ["birch"]),
        ({"seen": {"$lte": date(2024, 1, 31)}}, ["oak"]),
        ({"seen": {"$gt": datetime(2024, 2, 1, 5, 59, tzinfo=UTC)}}, ["birch"]),
        ({"seen": {"$gt": datetime(2024, 2, 1, 6, 0, tzinfo=UTC)}}, []),
        ({"seen": {"$between": [date(2024, 1, 1), date(2024, 1, 31)]}}, ["oak"]),
        ({"seen": {"$eq": date(2024, 1, 31)}}, ["oak"]),
    ],
    ids=str,
)
def test_operators_find_what_they_say(
    trees: DecantVectorStore, wanted: Mapping[str, object], expected: list[str]
) -> None:
    assert met(trees, wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"year": {"$gte": "2020"}}, "strings would be compared"),
        ({"year": {"$gte": True}}, "takes a number, a datetime.date"),
        ({"year": {"$gte": None}}, "takes a number, a datetime.date"),
        ({"year": {"$gte": float("nan")}}, "not finite"),
        ({"year": {"$between": [1]}}, "two bounds"),
        ({"year": {"$between": [1, date(2024, 1, 1)]}}, "numbers and dates"),
        ({"year": {"$between": 3}}, "takes a list"),
        ({"year": {"$in": "1900"}}, "takes a list"),
        ({"year": {"$eq": [1900]}}, "one value"),
        ({"year": {"$ne": None}}, r"'\$exists': False"),
        ({"year": {"$in": [1900, None]}}, r"'\$exists': False"),
        ({"year": {"$exists": "yes"}}, "True or False"),
        ({"year": {"$regex": "19.*"}}, r"known are \$eq"),
        ({"year": {"$GTE": 1}}, r"known are \$eq"),
        ({"year": {"$not": {"gte": 1}}}, r"known are \$eq"),
        ({"year": {"$not": 3}}, "takes operators"),
        ({"kind": {"$like": "tr%"}}, "matches patterns"),
        ({"kind": {"$ilike": "TR%"}}, "matches patterns"),
        ({"year": {"$gte": 1, "low": 2}}, "mixes operators and plain keys"),
        ({"year": {"low": 2}}, "not {'low': 2}"),
        ({"$gte": 1900}, "joins no filters"),
        ({"$odd": 1}, r"Equals\('\$odd'"),
        ({"$or": []}, "takes a list of filters"),
        ({"$and": {"year": 1900}}, "takes a list of filters"),
        ({"$or": [{"year": 1900}, True]}, "True is none"),
        ({"$or": [{"year": 1900}, "kind"]}, "not 'kind'"),
        ({"$not": None}, "not None"),
        ({"start_index": {"$gte": 3}}, "no ranges"),
        ({"source": {"$gte": 3}}, "no ranges"),
        ({"tags[]": {"$eq": "old"}}, "leads into a list"),
        ({1900: "year"}, "are strings"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_with_the_reason(
    trees: DecantVectorStore, wanted: Any, said: str
) -> None:
    with pytest.raises(StoreError, match=said):
        met(trees, wanted)


def test_an_entry_named_like_an_operator_is_found_by_a_condition(trees: DecantVectorStore) -> None:
    assert met(trees, Equals("$odd", 1)) == ["stone"]


def test_operators_see_the_source_and_the_place_of_a_chunk(collection: Collection) -> None:
    texts = {"a.md": "one text", "b.md": "another text"}
    collection.index([SourceDocument(source=name, text=text) for name, text in texts.items()])
    store = DecantVectorStore(collection)
    (first,) = store.similarity_search("text", filter={"source": {"$ne": "b.md"}})
    assert first.metadata["source"] == "a.md"
    assert len(met(store, {"start_index": {"$in": [0, 7]}})) == 2
    assert met(store, {"start_index": {"$ne": 0}}) == []
    assert len(met(store, {"source": {"$exists": True}})) == 2


def test_deleting_by_operators_deletes_what_they_find(trees: DecantVectorStore) -> None:
    trees.delete(filter={"year": {"$lt": 1950}})
    assert met(trees, None) == ["birch", "sea", "stone"]


@pytest.mark.parametrize("wanted", [{"kind": {"$nin": []}}, {"$and": [{}]}], ids=str)
def test_a_filter_that_all_meet_never_deletes_everything(
    trees: DecantVectorStore, wanted: Any
) -> None:
    with pytest.raises(ValueError, match="does not mean everything"):
        trees.delete(filter=wanted)
    assert met(trees, None) == sorted(FACTS)


# The naive reading of a filter, over what documents show.

DAYS = [date(2024, 1, 31), date(2024, 2, 1)]
MOMENTS = [datetime(2024, 1, 31, 23, 30, tzinfo=UTC), datetime(2024, 2, 1, 12, tzinfo=UTC)]
STAMPS = ["2024-01-31", "2024-02-01", "2024-01-31T22:30:00-01:00", "2024-02-01T12:00:00+00:00"]


def items(metadata: Mapping[str, Any], key: str) -> list[Any]:
    """Return the values of an entry by its name, and by the names that its dots part."""
    places = [metadata.get(key)]
    inner: Any = metadata
    for name in key.split("."):
        inner = inner.get(name) if isinstance(inner, dict) else None
    if "." in key:
        places.append(inner)
    return [
        item
        for place in places
        for item in (place if isinstance(place, list) else [place])
        if item is not None
    ]


def equal(item: Any, wanted: Any) -> bool:
    if isinstance(wanted, date) and not isinstance(wanted, datetime):
        wanted = wanted.isoformat()
    numbers = [isinstance(one, int | float) and not isinstance(one, bool) for one in (item, wanted)]
    return bool((all(numbers) or type(item) is type(wanted)) and item == wanted)


def moment(item: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(item)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def within(item: Any, operator: str, bound: Any) -> bool:
    if isinstance(bound, date):
        if (item := moment(item)) is None:
            return False
        if not isinstance(bound, datetime):  # a whole day
            first = datetime(bound.year, bound.month, bound.day, tzinfo=UTC)
            last = first + timedelta(days=1) - timedelta(microseconds=1)
            bound = last if operator in ("$gt", "$lte") else first
    elif not isinstance(item, int | float) or isinstance(item, bool):
        return False
    compare: dict[str, Callable[[Any, Any], bool]] = {"$gt": gt, "$gte": ge, "$lt": lt, "$lte": le}
    return compare[operator](item, bound)


def operation(metadata: Mapping[str, Any], key: str, name: str, operand: Any) -> bool:
    found = items(metadata, key)
    match name:
        case "$eq":
            return any(equal(item, operand) for item in found)
        case "$ne":
            return not any(equal(item, operand) for item in found)
        case "$in":
            return any(equal(item, one) for item in found for one in operand)
        case "$nin":
            return not any(equal(item, one) for item in found for one in operand)
        case "$exists":
            return bool(found) is operand
        case "$between":
            low, high = operand
            return any(within(item, "$gte", low) and within(item, "$lte", high) for item in found)
        case "$not":
            return not all(operation(metadata, key, *one) for one in operand.items())
        case _:
            return any(within(item, name, operand) for item in found)


def holds(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(part(metadata, key, value) for key, value in wanted.items())


def part(metadata: Mapping[str, Any], key: str, value: Any) -> bool:
    match key:
        case "$and":
            return all(holds(metadata, one) for one in value)
        case "$or":
            return any(holds(metadata, one) for one in value)
        case "$not":
            return not any(
                holds(metadata, one) for one in (value if isinstance(value, list) else [value])
            )
        case _ if isinstance(value, dict):
            return all(operation(metadata, key, *one) for one in value.items())
        case _:
            return operation(metadata, key, "$eq", value)


SCALARS = (
    st.sampled_from(["red", "a.md", *STAMPS])
    | st.integers(-3, 3)
    | st.booleans()
    | st.sampled_from([0.5, -2.25])
)
VALUES = st.none() | SCALARS | st.lists(SCALARS, max_size=2)
NAMES = st.sampled_from(["a", "b", "a.b", "source"])
METADATA = st.dictionaries(
    NAMES, VALUES | st.dictionaries(NAMES, VALUES, min_size=1, max_size=2), max_size=3
)
PASSAGES = st.lists(
    st.tuples(METADATA, st.sampled_from(["", "a.md", "b.md"])), min_size=1, max_size=5
)
COMPARED = SCALARS | st.sampled_from(DAYS)
NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, -2.25])
TIMES = st.sampled_from([*DAYS, *MOMENTS])
SAMENESS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), COMPARED),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(COMPARED, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
)
BOUNDS = st.one_of(
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), NUMBERS | TIMES),
    st.tuples(
        st.just("$between"),
        st.lists(NUMBERS, min_size=2, max_size=2) | st.lists(TIMES, min_size=2, max_size=2),
    ),
)
PLAIN = st.lists(SAMENESS | BOUNDS, min_size=1, max_size=2).map(dict)
OPERATIONS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    PLAIN, PLAIN.map(lambda one: {"$not": one})
)
ENTRIES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["a", "b", "a.b"]), COMPARED | OPERATIONS, max_size=2
)
ENTRIES |= st.dictionaries(st.just("source"), COMPARED | SAMENESS.map(lambda one: dict([one])))
FILTERS = st.recursive(
    ENTRIES,
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or", "$not"]),
        st.lists(inner, min_size=1, max_size=3),
        min_size=1,
        max_size=2,
    ),
    max_leaves=4,
)


@given(passages=PASSAGES, filters=st.lists(FILTERS, min_size=1, max_size=8))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_filter_finds_exactly_what_a_loop_over_the_shown_documents_finds(
    kept: Collection,
    passages: list[tuple[dict[str, Any], str]],
    filters: list[dict[str, Any]],
) -> None:
    kept.clear()
    records = [
        Record(id=str(number), text="a text", metadata=metadata, source=source)
        for number, (metadata, source) in enumerate(passages)
    ]
    kept.add(records)
    store = DecantVectorStore(kept)
    everything: list[Document] = store.get_by_ids([str(number) for number in range(len(passages))])
    for wanted in filters:
        expected = sorted(str(one.id) for one in everything if holds(one.metadata, wanted))
        assert met(store, wanted) == expected, wanted
