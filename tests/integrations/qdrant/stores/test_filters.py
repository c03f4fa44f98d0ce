"""Filters mean the same on every engine, and what they say: an evaluation in Python agrees."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    And,
    Collection,
    Condition,
    Equals,
    Exists,
    Field,
    FieldIn,
    In,
    Not,
    Or,
    Range,
    Record,
    connect,
)
from decant.integrations.qdrant.stores.filters import path_of
from decant.integrations.qdrant.stores.range_bounds import Numbers

# Each key holds values of one type, as in any sane collection: local mode takes 1, 1.0 and True
# for the same, the server's engine does not.
WORDS = ["", "a", "b", "é", "a b"]
VALUES: dict[str, st.SearchStrategy[object]] = {
    "word": st.sampled_from(WORDS),
    "count": st.integers(-3, 3),
    "share": st.sampled_from([-1.5, 0.5, 2.25]),
    "flag": st.booleans(),
    "tags": st.lists(st.sampled_from(WORDS), max_size=3),
    "a.b": st.integers(0, 2),
    "sp ace": st.sampled_from(WORDS),
    "none": st.none(),
}
NESTED = ("deep", "er")


def metadata() -> st.SearchStrategy[dict[str, object]]:
    flat = st.fixed_dictionaries({}, optional=VALUES)
    deep = st.fixed_dictionaries({}, optional={"er": st.integers(0, 2)})
    return st.builds(lambda held, inner: held | {"deep": inner}, flat, deep)


def leaves() -> st.SearchStrategy[Condition]:
    words, counts = st.sampled_from(WORDS), st.integers(-3, 3)
    keys: st.SearchStrategy[str | tuple[str, ...]]
    keys = st.sampled_from(["count", "share", "a.b", NESTED])
    bound = st.one_of(st.none(), st.sampled_from([-2, -1.5, 0, 0.5, 2]))
    ranges = st.tuples(keys, bound, bound, bound, bound)
    return st.one_of(
        st.builds(Equals, st.sampled_from(["word", "tags", "sp ace"]), words),
        st.builds(Equals, st.sampled_from(["count", "a.b", NESTED]), counts),
        st.builds(Equals, st.just("share"), st.sampled_from([-1.5, 0.5, 2.25])),
        st.builds(Equals, st.just("flag"), st.booleans()),
        st.builds(In, st.sampled_from(["word", "tags"]), st.lists(words, min_size=1)),
        st.builds(In, st.sampled_from(["count", NESTED]), st.lists(counts, min_size=1)),
        st.builds(In, st.just("flag"), st.lists(st.booleans(), min_size=1)),
        ranges.filter(lambda drawn: any(limit is not None for limit in drawn[1:])).map(
            lambda drawn: Range(drawn[0], gt=drawn[1], gte=drawn[2], lt=drawn[3], lte=drawn[4])
        ),
        st.builds(Exists, st.sampled_from([*VALUES, NESTED])),
        st.builds(FieldIn, st.just(Field.SOURCE), st.lists(st.sampled_from("xyz"), min_size=1)),
    )


def conditions() -> st.SearchStrategy[Condition]:
    return st.recursive(
        leaves(),
        lambda inner: st.one_of(
            st.builds(And, st.lists(inner, min_size=1, max_size=3)),
            st.builds(Or, st.lists(inner, min_size=1, max_size=3)),
            st.builds(Not, inner),
        ),
        max_leaves=6,
    )


def holds(condition: object, record: Record) -> bool:
    """Evaluate a condition the slow and readable way."""
    match condition:
        case Equals(key, value):
            return value in found(record, key)
        case In(key, values):
            return any(value in found(record, key) for value in values)
        case Range(key):
            return any(within(number, condition) for number in found(record, key))
        case Exists(key):
            return bool(found(record, key))
        case FieldIn(Field.SOURCE, values):
            return record.source in values
        case And(parts):
            return all(holds(part, record) for part in parts)
        case Or(parts):
            return any(holds(part, record) for part in parts)
        case Not(part):
            return not holds(part, record)
        case _:
            raise AssertionError(condition)


def found(record: Record, key: str | tuple[str, ...]) -> list[object]:
    value: object = record.metadata
    for name in (key,) if isinstance(key, str) else key:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def within(number: object, where: Range) -> bool:
    bounds = where.bounds
    assert isinstance(bounds, Numbers)
    assert isinstance(number, int | float)
    return (
        (bounds.gt is None or number > bounds.gt)
        and (bounds.gte is None or number >= bounds.gte)
        and (bounds.lt is None or number < bounds.lt)
        and (bounds.lte is None or number <= bounds.lte)
    )


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Collection]]:
    """One collection on each engine."""
    client = QdrantClient(":memory:")
    with connect(tmp_path_factory.mktemp("edge")) as edge, connect(client) as local:
        yield [Collection.create(store, "docs", HashEncoder(8)) for store in (edge, local)]
    client.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    held=st.lists(st.tuples(metadata(), st.sampled_from("xyz")), min_size=1, max_size=8),
    where=st.lists(conditions(), min_size=1, max_size=8),
)
def test_both_engines_find_what_plain_python_finds(
    engines: list[Collection], held: list[tuple[dict[str, object], str]], where: list[Condition]
) -> None:
    records = [
        Record(id=str(index), text="same", metadata=metadata, source=source)  # type: ignore[arg-type]
        for index, (metadata, source) in enumerate(held)
    ]
    for collection in engines:
        collection.clear()
        collection.add(records)
    for condition in where:
        expected = {record.id for record in records if holds(condition, record)}
        for collection in engines:
            hits = collection.search("same", limit=100, where=condition)
            assert {hit.id for hit in hits} == expected, collection.store.engine
            assert collection.count(condition) == len(expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: In("year", []),
        lambda: And([]),
        lambda: Or([]),
        lambda: FieldIn(Field.SOURCE, []),
        lambda: FieldIn(Field.SOURCE, "one string"),
        lambda: Range("year"),
        lambda: Range("year", gte=float("nan")),
        lambda: Equals("year", float("inf")),
        lambda: Equals("year", None),  # type: ignore[arg-type]
        lambda: Equals("year", 2**63),
        lambda: Equals("", 1),
        lambda: Equals('quo"te', 1),
        lambda: Equals("back\\slash", 1),
        lambda: Equals(["a", "b"], 1),  # type: ignore[arg-type]
        lambda: Equals(3, 1),  # type: ignore[arg-type]
        lambda: Exists(()),
        lambda: In("year", "2003"),
        lambda: In("year", b"2003"),
        lambda: In("year", {"a": 1}),  # type: ignore[arg-type]
        lambda: In("year", 2003),  # type: ignore[arg-type]
        lambda: In("year", iter([])),  # type: ignore[arg-type]
        lambda: FieldIn(Field.SOURCE, [1]),
        lambda: And(Equals("year", 1)),  # type: ignore[arg-type]
        lambda: Or(None),  # type: ignore[arg-type]
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused_when_made(make: object) -> None:
    with pytest.raises(StoreError):
        make()  # type: ignore[operator]


def test_metadata_keys_are_taken_to_the_letter() -> None:
    assert path_of("a.b[0]") == 'metadata."a.b[0]"'
    assert path_of(("a", "b")) == "metadata.a.b"


def test_enumerations_compare_by_their_values(years: Collection) -> None:
    class Year(IntEnum):
        THIRD = 2003

    assert {hit.id for hit in years.search("x", where=In("year", [Year.THIRD]))} == {"3"}
    assert {hit.id for hit in years.search("x", where=Equals("year", Year.THIRD))} == {"3"}


def test_conditions_joined_one_by_one_are_one_level_deep(years: Collection) -> None:
    either, both = Equals("year", 2000), Equals("even", value=True)
    for number in range(500):
        either = Or([either, Equals("year", 2001 + number)])  # type: ignore[assignment]
        both = And([both, Not(Equals("year", 2001 + number))])  # type: ignore[assignment]
    assert years.count(either) == 10
    assert years.count(both) == 1


def test_a_condition_nested_to_the_limit_works_and_a_deeper_one_is_refused(
    years: Collection,
) -> None:
    where: Condition = Equals("year", 2003)
    for _ in range(15):
        where = Not(And([where]))
    assert years.count(where) == 9
    with pytest.raises(StoreError, match="may be nested 30 levels deep"):
        Not(Not(where))
