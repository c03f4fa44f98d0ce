"""Dataclasses to JSON and back: nothing lost, nothing guessed, every refusal says where."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import BundleError
from decant.embedders.json_records import decode, encode, read, to_json


class Colour(StrEnum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A record inside another."""

    x: float
    y: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Record:
    """One field of every kind that is supported."""

    name: str
    size: int
    share: float
    good: bool
    colour: Colour
    origin: Point
    note: str | None = None
    path: tuple[Point, ...] = ()
    grid: tuple[tuple[int, ...], ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    corners: dict[str, Point] = field(default_factory=dict)
    favourite: Colour | None = None


numbers = st.floats(allow_nan=False, allow_infinity=False)
points = st.builds(Point, x=numbers, y=numbers)
records = st.builds(
    Record,
    name=st.text(),
    size=st.integers(),
    share=numbers,
    good=st.booleans(),
    colour=st.sampled_from(Colour),
    origin=points,
    note=st.none() | st.text(),
    path=st.lists(points, max_size=3).map(tuple),
    grid=st.lists(st.lists(st.integers(), max_size=3).map(tuple), max_size=3).map(tuple),
    sizes=st.dictionaries(st.text(), st.integers(), max_size=3),
    corners=st.dictionaries(st.text(), points, max_size=3),
    favourite=st.none() | st.sampled_from(Colour),
)
PLAIN = Record(name="a", size=1, share=0.5, good=True, colour=Colour.RED, origin=Point(x=1.0))


def decoded(data: object) -> Record:
    """Read a record; errors are bundle errors, so that they cannot come from elsewhere."""
    return decode(Record, data, where="file.json", error=BundleError)


@given(records)
def test_a_record_survives_json_text(record: Record) -> None:
    assert decoded(json.loads(to_json(record))) == record


@given(records)
def test_a_record_survives_without_its_defaults(record: Record) -> None:
    assert decoded(encode(record, defaults=False)) == record


@given(records)
def test_every_field_is_written_unless_defaults_are_left_out(record: Record) -> None:
    whole, short = encode(record), encode(record, defaults=False)
    assert isinstance(whole, dict)
    assert isinstance(short, dict)
    assert set(whole) == set(Record.__dataclass_fields__)
    assert set(short) <= set(whole)
    assert {"name", "size", "share", "good", "colour", "origin"} <= set(short)


def test_a_field_added_later_does_not_change_what_older_records_say() -> None:
    older = make_dataclass("Thing", [("size", int)], frozen=True)
    newer = make_dataclass("Thing", [("size", int), ("extra", int, field(default=3))], frozen=True)
    assert encode(newer(1), defaults=False) == encode(older(1), defaults=False) == {"size": 1}
    assert encode(newer(1, 4), defaults=False) == {"size": 1, "extra": 4}


def test_json_text_is_readable_and_ends_with_a_newline() -> None:
    text = to_json(Point(x=1.5, y=2.0))
    assert text == '{\n  "x": 1.5,\n  "y": 2.0\n}\n'
    assert "naïve" in to_json({"word": "naïve"})


def test_a_whole_number_will_do_where_a_float_is_expected() -> None:
    point = decode(Point, {"x": 3}, where="file.json", error=BundleError)
    assert point == Point(x=3.0)
    assert type(point.x) is float


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizee": 1}, "file.json: unknown key 'sizee'; known are name, size"),
        ({"origin": {"x": 1.0, "z": 1.0}}, "file.json.origin: unknown key 'z'"),
        ({"origin": {"y": 1.0}}, "file.json.origin: key 'x' is missing"),
        ({"origin": None}, "file.json.origin: expected Point, found None"),
        ({"name": 3}, "file.json.name: expected str, found 3"),
        ({"name": None}, "file.json.name: expected str, found None"),
        ({"size": True}, "file.json.size: expected int, found True"),
        ({"size": 1.0}, "file.json.size: expected int, found 1.0"),
        ({"size": "1"}, "file.json.size: expected int, found '1'"),
        ({"good": 1}, "file.json.good: expected bool, found 1"),
        ({"share": "0.5"}, "file.json.share: expected float, found '0.5'"),
        ({"share": False}, "file.json.share: expected float, found False"),
        ({"colour": "green"}, "file.json.colour: 'green' is none of red, blue"),
        ({"colour": ["red"]}, "is none of red, blue"),
        ({"favourite": "RED"}, "file.json.favourite: 'RED' is none of red, blue"),
        ({"note": 3}, "file.json.note: expected str, found 3"),
        ({"path": {"x": 1.0}}, "file.json.path: expected"),
        ({"path": [{"x": 1.0}, {"x": "1"}]}, "file.json.path[1].x: expected float, found '1'"),
        ({"grid": [[1], [2, None]]}, "file.json.grid[1][1]: expected int, found None"),
        ({"sizes": {"a": 1, "b": "2"}}, "file.json.sizes.b: expected int, found '2'"),
        ({"sizes": [1]}, "file.json.sizes: expected"),
        ({"corners": {"a": {}}}, "file.json.corners.a: key 'x' is missing"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(changes: dict[str, object], message: str) -> None:
    data = encode(PLAIN)
    assert isinstance(data, dict)
    with pytest.raises(BundleError) as refused:
        decoded({**data, **changes})
    assert message in str(refused.value)


@pytest.mark.parametrize("data", [None, [], "text", 3, True])
def test_what_is_not_an_object_is_refused(data: object) -> None:
    with pytest.raises(BundleError, match=r"file\.json: expected Record"):
        decoded(data)


def test_a_value_that_json_has_no_form_for_is_refused_when_written() -> None:
    with pytest.raises(TypeError, match="Path"):
        encode({"where": Path()})


def test_a_file_is_read_into_its_record(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_text(to_json(PLAIN), encoding="utf-8")
    assert read(Record, file, error=BundleError) == PLAIN


@pytest.mark.parametrize("content", [b"", b"{", b'{"name": "\xff"}', b"\x00"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"record\.json is not valid JSON"):
        read(Record, file, error=BundleError)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"record\.json does not exist"):
        read(Record, tmp_path / "record.json", error=BundleError)
