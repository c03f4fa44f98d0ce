"""Filters of qdrant-client mean the same on Edge as where they come from."""

from __future__ import annotations

import datetime

import pytest
from qdrant_client import models

from decant.embedders import StoreError
from decant.integrations.qdrant import (
    And,
    Collection,
    Equals,
    Not,
    Or,
    Range,
    Record,
)
from decant.integrations.qdrant.stores.filters import is_vacuous


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
    both = And([theirs, Range("year", gte=2004)])
    assert {hit.id for hit in years.search("x", where=both)} == {"4", "6", "8"}
    either = Or([Not(theirs), Equals("year", 2004)])
    assert {hit.id for hit in years.search("x", where=either)} == {"1", "3", "5", "7", "9", "4"}


@pytest.mark.parametrize("where", ["year = 1", [Equals("year", 1)], 3])
def test_what_is_no_filter_is_refused(years: Collection, where: object) -> None:
    with pytest.raises(StoreError, match="a filter is a condition of decant or a"):
        years.search("x", where=where)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(models, "SliceCondition"), reason="this client lacks it, too")
def test_a_condition_that_edge_lacks_is_refused_by_name(edge_years: Collection) -> None:
    condition = models.SliceCondition(slice=models.Slice(index=0, total=2))
    with pytest.raises(StoreError, match="Edge has no condition SliceCondition"):
        edge_years.count(models.Filter(must=[condition]))


@pytest.mark.parametrize(
    ("where", "vacuous"),
    [
        (models.Filter(), True),
        (models.Filter(must=[]), True),
        (models.Filter(must=[models.Filter(), models.Filter(should=[])]), True),
        (models.Filter(should=[models.Filter(), models.HasVectorCondition(has_vector="d")]), True),
        (And([models.Filter()]), True),
        (Or([models.Filter(), Equals("a", 1)]), True),
        (models.Filter(must=models.HasVectorCondition(has_vector="dense")), False),
        (models.Filter(must_not=[models.Filter()]), False),
        (And([models.Filter(), Equals("a", 1)]), False),
        (Not(Equals("a", 1)), False),
        (Equals("a", 1), False),
    ],
)
def test_filters_without_any_condition_are_recognised(where: object, vacuous: bool) -> None:
    assert is_vacuous(where) is vacuous  # type: ignore[arg-type]


def nested(levels: int) -> models.Filter:
    where = models.Filter(must=[field("metadata.year", range=models.Range(gte=2008))])
    for _ in range(levels - 1):
        where = models.Filter(must=[where])
    return where


def test_a_filter_of_the_client_may_be_nested_as_deep_as_a_condition(years: Collection) -> None:
    assert years.count(nested(30)) == 2
    assert len(years.search("the year", where=nested(30))) == 2


@pytest.mark.parametrize("levels", [40, 300, 5_000])
def test_a_filter_of_the_client_that_is_nested_deeper_is_refused(
    years: Collection, levels: int
) -> None:
    where = nested(levels)
    with pytest.raises(StoreError, match="nested 30 levels deep, this one is deeper"):
        years.count(where)
    with pytest.raises(StoreError, match="nested 30 levels deep"):
        years.search("the year", where=where)
    with pytest.raises(StoreError, match="nested 30 levels deep"):
        years.delete_where(where)
    with pytest.raises(StoreError, match="nested 30 levels deep"):
        And([where])
    assert years.count() == 10


def test_a_filter_of_the_client_that_holds_itself_is_refused(years: Collection) -> None:
    where = models.Filter(must=[])
    where.must = [where]
    with pytest.raises(StoreError, match="nested 30 levels deep"):
        years.count(where)
