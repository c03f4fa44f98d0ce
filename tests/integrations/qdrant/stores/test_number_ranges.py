"""Numbers equal in value match, on every engine, with and without an index: plain Python agrees."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Condition,
    Equals,
    FieldType,
    In,
    Not,
    PayloadIndex,
    Record,
    connect,
)
from decant.integrations.qdrant.stores.filters import Where
from decant.integrations.qdrant.stores.translation.number_ranges import (
    Branch,
    Interval,
    branched,
    intervals,
)

KEYS = {"plain": None, "whole": FieldType.INTEGER, "float": FieldType.FLOAT}
SMALL = [0, 0.0, -0.0, 1, 1.0, True, False, 9, 9.0, -9, -9.0, 2005, 2005.0, "9", "1", "True"]
LARGE = [2**49, 2.0**49, 2**52 + 1, 2**53 - 1, 2**53, 2**53 + 1, 2**60, 2**60 + 1, 2**63 - 1]
LOWEST = [-(2**53), -(2**53) - 1, -(2**60) - 1, -(2**63), -(2**63) + 1]
FRACTIONS = [0.1, 0.1 + 0.2, 0.30000000000001, 9.5, -9.5, 8.999999, 1e-12, 1.1e-300, 1e300]


def scalars() -> st.SearchStrategy[object]:
    return st.one_of(
        st.sampled_from([*SMALL, *LARGE, *LOWEST, *FRACTIONS]),
        st.integers(-3, 3),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(-3, 3).map(lambda number: round(number, 1)),
        st.floats(allow_nan=False, allow_infinity=False),
    )


def equal(value: object, stored: object) -> bool | None:
    """Say whether a condition on ``value`` finds ``stored``; None where a store may round it."""
    if isinstance(value, bool | str) or isinstance(stored, bool | str):
        return type(value) is type(stored) and value == stored
    assert isinstance(value, int | float)
    assert isinstance(stored, int | float)
    if type(value) is type(stored) is int:
        return value == stored
    if type(value) is int and abs(value) >= 2**53:
        return False if value != stored else None  # an index of integers takes 2.0**60 for 2**60
    if abs(value) < 2**49 and float(value).is_integer() and float(stored).is_integer():
        return value == stored
    if value == stored and (type(value) is float or abs(value) < 2**52):
        return True
    near = abs(float(value) - float(stored)) <= 40 * max(math.ulp(value), math.ulp(stored))
    return None if near else False


def holds(condition: Where, stored: object) -> bool | None:
    if isinstance(condition, Not):
        inner = holds(condition.part, stored)
        return None if inner is None else not inner
    assert isinstance(condition, Equals | In)
    values = [condition.value] if isinstance(condition, Equals) else condition.values
    items = stored if isinstance(stored, list) else [stored]
    said = {equal(value, item) for value in values for item in items}
    return True if True in said else None if None in said else False


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Collection]]:
    """One collection on each engine, with each index of numbers."""
    indexed = tuple(PayloadIndex(key=key, type=kind) for key, kind in KEYS.items() if kind)
    layout = CollectionSettings(indexed=indexed)
    client = QdrantClient(":memory:")
    with connect(tmp_path_factory.mktemp("edge")) as edge, connect(client) as local:
        yield [
            Collection.create(store, "docs", HashEncoder(8), settings=layout)
            for store in (edge, local)
        ]
    client.close()


@settings(max_examples=40, deadline=None)
@given(
    held=st.lists(scalars() | st.lists(scalars(), max_size=3), min_size=1, max_size=20),
    values=st.lists(scalars(), min_size=1, max_size=9),
    data=st.data(),
)
def test_numbers_equal_in_value_match_on_both_engines(
    engines: list[Collection], held: list[object], values: list[object], data: st.DataObject
) -> None:
    one = data.draw(
        st.sampled_from([value for value in held if not isinstance(value, list)] or [1])
    )
    records = [
        Record(id=str(index), text="x", metadata=dict.fromkeys(KEYS, value))  # type: ignore[arg-type]
        for index, value in enumerate(held)
    ]
    for collection in engines:
        collection.clear()
        collection.add(records)
        for key in KEYS:
            equals, any_of = Equals(key, one), In(key, values)  # type: ignore[arg-type]
            for condition in (equals, any_of, Not(any_of)):
                found = {passage.id for passage in collection.each(condition)}
                for index, value in enumerate(held):
                    if key == "whole" and not _indexed(value):
                        continue  # an index of integers holds no others
                    expected = holds(condition, value)
                    assert expected is None or (str(index) in found) is expected, (
                        f"{collection.store.engine} {condition} {value!r}"
                    )


def _indexed(value: object) -> bool:
    items = value if isinstance(value, list) else [value]
    floats = [item for item in items if isinstance(item, float)]
    return all(number.is_integer() and abs(number) < 2**63 for number in floats)


def test_an_integer_finds_the_float_of_its_value_and_not_the_boolean(
    collection: Collection,
) -> None:
    held = [9, 9.0, [1, 9.0], 8, True, 1, 1.0, "9", 2**60, 2**60 + 1]
    collection.add(
        [Record(id=str(n), text="x", metadata={"v": v}) for n, v in enumerate(held)]  # type: ignore[dict-item]
    )

    def found(condition: Condition) -> set[str]:
        return {passage.id for passage in collection.each(condition)}

    assert found(Equals("v", 9)) == found(Equals("v", 9.0)) == {"0", "1", "2"}
    assert found(In("v", [9, "9", 7])) == {"0", "1", "2", "7"}
    assert found(Not(Equals("v", 9))) == {"3", "4", "5", "6", "7", "8", "9"}
    assert found(Equals("v", 1)) == found(Equals("v", 1.0)) == {"2", "5", "6"}
    assert found(Equals("v", True)) == {"4"}
    assert found(Equals("v", 2**60 + 1)) == {"9"}
    assert found(In("v", range(8, 5_000))) == {"0", "1", "2", "3"}


def test_every_float_is_found_by_its_own_value(collection: Collection) -> None:
    draw = random.Random(0)
    values = [
        *(draw.random() for _ in range(40)),
        *(draw.choice((1, -1)) * 10 ** draw.uniform(-300, 300) for _ in range(40)),
        *(float(draw.getrandbits(52)) for _ in range(20)),
        1.7976931348623157e308,
        5e-324,
    ]
    collection.add([Record(id=str(n), text="x", metadata={"v": v}) for n, v in enumerate(values)])
    missed = [
        value for n, value in enumerate(values)
        if str(n) not in {passage.id for passage in collection.each(Equals("v", value))}
    ]  # fmt: skip
    assert missed == []


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=300))
def test_branches_hold_all_their_intervals_and_few_at_each_level(numbers: list[float]) -> None:
    parts = [part for number in numbers for part in intervals(number)]
    assert sorted(map(str, _leaves(branched(parts)))) == sorted(map(str, parts))


def _leaves(parts: list[Interval | Branch]) -> Iterator[Interval]:
    assert 1 <= len(parts) <= 6
    for part in parts:
        if isinstance(part, Interval):
            yield part
            continue
        inner = list(_leaves(list(part.parts)))
        assert part.around.low is not None
        assert part.around.high is not None
        assert all(one.low is None or one.low >= part.around.low for one in inner)
        assert all(one.high is None or one.high <= part.around.high for one in inner)
        yield from inner
