"""Dates, UUIDs, paths and scalars of numpy in metadata, and conditions on them, on every engine."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Condition,
    Document,
    Equals,
    FieldType,
    In,
    Not,
    PayloadIndex,
    Range,
    Record,
    Store,
)

IDENTITY = uuid.UUID("0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e")
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
NAIVE = NEW_YEAR.replace(tzinfo=None)
EAST = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (date(2024, 1, 31), "2024-01-31"),
        (NAIVE.replace(day=31, hour=12, minute=5), "2024-01-31T12:05:00"),
        (datetime(2024, 1, 31, 12, tzinfo=EAST), "2024-01-31T12:00:00+01:00"),
        (IDENTITY, "0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e"),
        (PurePosixPath("notes/a.md"), "notes/a.md"),
        (PureWindowsPath(r"C:\notes\a.md"), "C:/notes/a.md"),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.datetime64("2024-01-31"), "2024-01-31"),
        (np.datetime64("2024-01"), "2024-01-01"),
        (np.datetime64("2024-01-31T12:05"), "2024-01-31T12:05:00"),
    ],
)
def test_a_value_of_python_is_stored_as_one_json_value_and_found_by_itself(
    collection: Collection, value: Any, stored: object
) -> None:
    record = Record(id="a", text="x", metadata={"v": value, "list": [value], "deep": {"v": value}})
    assert record.metadata == {"v": stored, "list": [stored], "deep": {"v": stored}}
    assert type(record.metadata["v"]) is type(stored)
    collection.add([record, Record(id="b", text="x", metadata={"v": "other"})])
    for where in (Equals("v", value), In("list", [value]), Equals(("deep", "v"), value)):
        assert [passage.id for passage in collection.each(where)] == ["a"], where


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.datetime64("NaT"), "a datetime64 is not JSON"),
        (np.timedelta64(1, "s"), "a timedelta64 is not JSON"),
        (np.float32("nan"), "nan is not a number of JSON"),
        (np.complex128(1), "a complex128 is not JSON"),
        (np.longdouble(1), "a longdouble is not JSON"),
        (np.zeros(2), "a ndarray is not JSON"),
        (timedelta(1), "a timedelta is not JSON"),
    ],
)
def test_what_no_json_stands_for_is_refused(value: Any, message: str) -> None:
    with pytest.raises(StoreError, match=rf"metadata\['v'\]: {message}"):
        Record(text="x", metadata={"v": value})
    with pytest.raises(StoreError, match="a filter c"):
        Equals("v", value)


def test_a_document_with_dates_is_the_one_with_their_strings(store: Store) -> None:
    docs = Collection.create(store, "docs", HashEncoder(8))
    held: Any = {"when": date(2024, 1, 31), "at": PurePosixPath("a/b"), "n": np.int32(2)}
    plain: Any = {"when": "2024-01-31", "at": "a/b", "n": 2}
    assert docs.index([Document(source="a", text="x", metadata=held, root="r")]).added == 1
    assert docs.index([Document(source="a", text="x", metadata=plain, root="r")]).unchanged == 1


MOMENTS = {
    "before": "2023-12-31T23:59:59.999999Z",
    "day": "2024-01-01",
    "naive": "2024-01-01T00:00:00",
    "zulu": "2024-01-01T00:00:00Z",
    "east": "2024-01-01T01:00:00+01:00",
    "noon": "2024-01-01T12:00:00+00:00",
    "next": "2024-01-02",
    "word": "not a date",
}
AT_MIDNIGHT = {"day", "naive", "zulu", "east"}


@pytest.fixture(params=[False, True], ids=["plain", "indexed"])
def moments(request: pytest.FixtureRequest, store: Store) -> Collection:
    indexed = (PayloadIndex(key="when", type=FieldType.DATETIME),) if request.param else ()
    docs = Collection.create(
        store, "docs", HashEncoder(8), settings=CollectionSettings(indexed=indexed)
    )
    docs.add([Record(id=k, text=k, metadata={"when": v}) for k, v in MOMENTS.items()])
    return docs


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Range("when", gte=NEW_YEAR, lte=NEW_YEAR), AT_MIDNIGHT),
        (Range("when", gt=NEW_YEAR), {"noon", "next"}),
        (Range("when", lt=NAIVE), {"before"}),
        (Range("when", lte=NEW_YEAR.astimezone(EAST)), {"before", *AT_MIDNIGHT}),
        (Range("when", gte=date(2024, 1, 1), lte=date(2024, 1, 1)), {*AT_MIDNIGHT, "noon"}),
        (Range("when", gt=date(2024, 1, 1)), {"next"}),
        (Range("when", lt=date(2024, 1, 1)), {"before"}),
        (Range("when", lte=date.max), {*MOMENTS} - {"word"}),
        (Range("when", gt=date.max), set()),
        (Equals("when", NEW_YEAR), AT_MIDNIGHT),
        (Equals("when", NAIVE), AT_MIDNIGHT),
        (Equals("when", date(2024, 1, 1)), {"day"}),
        (In("when", [NEW_YEAR, "not a date"]), {*AT_MIDNIGHT, "word"}),
        (Not(Range("when", gte=NEW_YEAR)), {"before", "word"}),
    ],
)  # fmt: skip
def test_dates_are_compared_as_moments(
    moments: Collection, where: Condition, expected: set[str]
) -> None:
    assert {passage.id for passage in moments.each(where)} == expected


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"gte": "2024-01-01"}, r"gte='2024-01-01', a str; .*date.fromisoformat\('2024-01-01'\)"),
        ({"gte": b"x"}, "gte=b'x', a bytes; give a number"),
        ({"gte": [1]}, "a list"),
        ({"gte": 1, "lt": date(2024, 1, 1)}, "numbers and dates as bounds; give either"),
        ({"gte": np.datetime64("2024-01-01")}, "a datetime64; give a number"),
        ({"gte": 10**400}, "not finite"),
        ({"gte": float("nan")}, "not finite"),
        ({}, "has no bound"),
    ],
)
def test_a_bound_that_cannot_be_compared_with_is_named(bounds: Any, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        Range("when", **bounds)


def test_a_scalar_of_numpy_is_a_bound(years: Collection) -> None:
    where = Range("year", gte=np.float32(2008), lt=np.int64(2009))  # type: ignore[arg-type]
    assert [passage.id for passage in years.each(where)] == ["8"]
