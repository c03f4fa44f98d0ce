"""A mapping of metadata entries stands wherever a condition may."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from decant.embedders import Role, StoreError
from decant.integrations.qdrant import And, Collection, Equals, Not, Or, Range, Record
from decant.integrations.qdrant.stores.filters import is_vacuous


def test_a_mapping_is_a_condition_everywhere(years: Collection) -> None:
    where = {"year": 2003}
    assert [hit.id for hit in years.search("the year", where=where)] == ["3"]
    vector = years.encoder.encode(["the year"], role=Role.QUERY).dense[0]
    assert [hit.id for hit in years.search_vector(vector, where=where)] == ["3"]
    assert [passage.id for passage in years.each(where)] == ["3"]
    assert years.count(where) == 1
    assert years.delete_where(where) == 1
    assert years.count() == 9


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"year": 2003, "even": False}, "3"),
        ({"year": 2003, "even": True}, ""),
        ({"year": 2003.0}, "3"),
        ({"tags": "t4"}, "4"),
        (Not({"even": True}), "13579"),
        (Or([{"year": 2001}, Equals("year", 2002)]), "12"),
        (And([{"even": True}, Range("year", gte=2005)]), "68"),
        ({}, "0123456789"),
        (Not({}), ""),
    ],
)
def test_all_entries_of_a_mapping_hold(years: Collection, where: Any, expected: str) -> None:
    assert sorted(passage.id for passage in years.each(where)) == list(expected)


def test_a_key_of_a_mapping_is_meant_to_the_letter(collection: Collection) -> None:
    collection.add([Record(id="flat", text="x", metadata={"a.b": 1})])
    collection.add([Record(id="deep", text="x", metadata={"a": {"b": 1}})])
    assert [passage.id for passage in collection.each({"a.b": 1})] == ["flat"]


def test_a_mapping_of_dates_finds_them(collection: Collection) -> None:
    when: Any = {"when": date(2024, 1, 31)}
    collection.add([Record(id="a", text="x", metadata=when), Record(id="b", text="x")])
    assert [passage.id for passage in collection.each(when)] == ["a"]


def test_an_empty_mapping_deletes_nothing(years: Collection) -> None:
    nothing: list[Any] = [{}, And([{}, {}]), Or([{}, {"year": 2001}])]
    for where in nothing:
        assert is_vacuous(where)
        with pytest.raises(StoreError, match="would delete everything"):
            years.delete_where(where)
    assert not is_vacuous({"year": 2001})
    assert years.count() == 10


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"year": None}, "compares strings, numbers, booleans, dates, UUIDs and paths, not None"),
        ({"year": [2001, 2002]}, r"not \[2001, 2002\]"),
        ({"year": {"$gte": 2001}}, r"not \{'\$gte': 2001\}"),
        ({"": 1}, "cannot address the metadata key ''"),
        ({3: 1}, "a metadata key is a string or a tuple of strings, not 3"),
    ],
)
def test_a_mapping_that_states_no_equality_is_refused(
    years: Collection, where: Any, message: str
) -> None:
    for ask in (years.count, lambda given: years.search("the year", where=given)):
        with pytest.raises(StoreError, match=message):
            ask(where)
