"""Filters mean the same on every engine, and what they say: an evaluation in Python agrees."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from qdrant_client import QdrantClient, models

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    All,
    AnyOf,
    Collection,
    Condition,
    Either,
    Equals,
    Exists,
    Field,
    FieldIn,
    Not,
    Range,
    Record,
    connect,
)
from decant.integrations.qdrant.conditions import is_vacuous, path_of

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
        st.builds(AnyOf, st.sampled_from(["word", "tags"]), st.lists(words, min_size=1)),
        st.builds(AnyOf, st.sampled_from(["count", NESTED]), st.lists(counts, min_size=1)),
        st.builds(AnyOf, st.just("flag"), st.lists(st.booleans(), min_size=1)),
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
            st.builds(All, st.lists(inner, min_size=1, max_size=3)),
            st.builds(Either, st.lists(inner, min_size=1, max_size=3)),
            st.builds(Not, inner),
        ),
        max_leaves=6,
    )


def holds(condition: object, record: Record) -> bool:
    """Evaluate a condition the slow and readable way."""
    match condition:
        case Equals(key, value):
            return value in found(record, key)
        case AnyOf(key, values):
            return any(value in found(record, key) for value in values)
        case Range(key):
            return any(within(number, condition) for number in found(record, key))
        case Exists(key):
            return bool(found(record, key))
        case FieldIn(Field.SOURCE, values):
            return record.source in values
        case All(parts):
            return all(holds(part, record) for part in parts)
        case Either(parts):
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


def within(number: object, bounds: Range) -> bool:
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


def field(key: str, **condition: object) -> models.FieldCondition:
    return models.FieldCondition(key=key, **condition)  # type: ignore[arg-type]


EVEN = field("metadata.even", match=models.MatchValue(value=True))
NEAR = models.GeoRadius(center=models.GeoPoint(lon=13.4, lat=52.5), radius=50_000)
BOX = models.GeoBoundingBox(
    top_left=models.GeoPoint(lon=13, lat=53), bottom_right=models.GeoPoint(lon=14, lat=52)
)
RING = models.GeoLineString(
    points=[
        models.GeoPoint(lon=lon, lat=lat) for lon, lat in [(13, 52), (14, 52), (14, 53), (13, 52)]
    ]
)
FILTERS = [
    models.Filter(must=[field("metadata.year", match=models.MatchValue(value=2003))]),
    models.Filter(must=EVEN),
    models.Filter(should=[
        field("metadata.year", match=models.MatchAny(any=[2001, 2002])),
        field("source", match=models.MatchValue(value="book-0")),
    ]),
    models.Filter(must_not=[
        field("metadata.tags", match=models.MatchExcept(**{"except": ["a"]}))
    ]),
    models.Filter(must=[field("metadata.year", range=models.Range(gt=2002, lte=2005))]),
    models.Filter(must=[field("metadata.tags", values_count=models.ValuesCount(gte=2))]),
    models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="metadata.no"))]),
    models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="metadata.year"))]),
    models.Filter(must=[models.HasIdCondition(has_id=["0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e"])]),
    models.Filter(must_not=[models.HasVectorCondition(has_vector="dense")]),
    models.Filter(min_should=models.MinShould(min_count=2, conditions=[
        EVEN,
        field("metadata.year", range=models.Range(gte=2005)),
        field("source", match=models.MatchValue(value="book-1")),
    ])),
    models.Filter(must=[
        models.Filter(must_not=[field("id", match=models.MatchAny(any=["1", "2"]))])
    ]),
    models.Filter(must=[field("metadata.when", range=models.DatetimeRange(
        gte=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)))]),
    models.Filter(must=[field("metadata.where", geo_radius=NEAR)]),
    models.Filter(must=[field("metadata.where", geo_bounding_box=BOX)]),
    models.Filter(must=[field("metadata.where", geo_polygon=models.GeoPolygon(exterior=RING))]),
    models.Filter(must=[models.NestedCondition(nested=models.Nested(
        key="metadata.parts",
        filter=models.Filter(must=[
            field("name", match=models.MatchValue(value="wing")),
            field("size", range=models.Range(gte=3)),
        ]),
    ))]),
    models.Filter(must=[field("text", match=models.MatchText(text="special"))]),
]  # fmt: skip
EXPECTED = [
    {"3"}, {"0", "2", "4", "6", "8"}, {"0", "1", "2", "3", "6", "9"}, {"special"}, {"3", "4", "5"},
    {str(number) for number in range(10)}, {*map(str, range(10)), "special"}, set(), set(), set(),
    {"6", "8", "4", "7"}, {*map(str, range(10)), "special"} - {"1", "2"}, {"special"}, {"special"},
    {"special"}, set(), {"special"}, {"special"},
]  # fmt: skip


@pytest.mark.parametrize(("where", "expected"), list(zip(FILTERS, EXPECTED, strict=True)))
def test_filters_of_the_client_mean_the_same_on_both_engines(
    years: Collection, where: models.Filter, expected: set[str]
) -> None:
    years.add(
        [
            Record(
                id="special",
                text="special",
                metadata={
                    "when": "2021-05-01T00:00:00Z",
                    "where": {"lon": 13.5, "lat": 52.6},
                    "parts": [{"name": "wing", "size": 4}, {"name": "tail", "size": 1}],
                },
            )
        ]
    )
    assert {hit.id for hit in years.search("a year", limit=100, where=where)} == expected
    assert years.count(where) == len(expected)


def test_conditions_and_filters_of_the_client_combine(years: Collection) -> None:
    theirs = models.Filter(must=[EVEN])
    both = All([theirs, Range("year", gte=2004)])
    assert {hit.id for hit in years.search("x", where=both)} == {"4", "6", "8"}
    either = Either([Not(theirs), Equals("year", 2004)])
    assert {hit.id for hit in years.search("x", where=either)} == {"1", "3", "5", "7", "9", "4"}


@pytest.mark.parametrize("where", ["year = 1", {"year": 1}, 3])
def test_what_is_no_filter_is_refused(years: Collection, where: object) -> None:
    with pytest.raises(StoreError, match="a filter is a condition of decant or a"):
        years.search("x", where=where)  # type: ignore[arg-type]


def test_a_condition_that_edge_lacks_is_refused_by_name(edge_years: Collection) -> None:
    condition = models.SliceCondition(slice=models.Slice(index=0, total=2))
    with pytest.raises(StoreError, match="Edge has no condition SliceCondition"):
        edge_years.count(models.Filter(must=[condition]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: AnyOf("year", []),
        lambda: All([]),
        lambda: Either([]),
        lambda: FieldIn(Field.SOURCE, []),
        lambda: FieldIn(Field.SOURCE, "one string"),
        lambda: Range("year"),
        lambda: Range("year", gte=float("nan")),
        lambda: Equals("year", float("inf")),
        lambda: Equals("year", None),  # type: ignore[arg-type]
        lambda: Equals("year", 2**63),
        lambda: Equals("", 1),
        lambda: Equals('quo"te', 1),
        lambda: Exists(()),
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused_when_made(make: object) -> None:
    with pytest.raises(StoreError):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("where", "vacuous"),
    [
        (models.Filter(), True),
        (models.Filter(must=[]), True),
        (models.Filter(must=[models.Filter(), models.Filter(should=[])]), True),
        (models.Filter(should=[models.Filter(), models.HasVectorCondition(has_vector="d")]), True),
        (All([models.Filter()]), True),
        (Either([models.Filter(), Equals("a", 1)]), True),
        (models.Filter(must=models.HasVectorCondition(has_vector="dense")), False),
        (models.Filter(must_not=[models.Filter()]), False),
        (All([models.Filter(), Equals("a", 1)]), False),
        (Not(Equals("a", 1)), False),
        (Equals("a", 1), False),
    ],
)
def test_filters_without_any_condition_are_recognised(where: object, vacuous: bool) -> None:
    assert is_vacuous(where) is vacuous  # type: ignore[arg-type]


def test_metadata_keys_are_taken_to_the_letter() -> None:
    assert path_of("a.b[0]") == 'metadata."a.b[0]"'
    assert path_of(("a", "b")) == "metadata.a.b"
