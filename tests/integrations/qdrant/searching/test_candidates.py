"""Choosing the hits of a page from rankings: depths, boosts, equal texts, groups."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import StoreError
from decant.integrations.qdrant import Boost, Fusion, Group, Recency, SearchOptions
from decant.integrations.qdrant.coroutines.run_now import immediate, run_now
from decant.integrations.qdrant.searching.boosts import boosted, settle
from decant.integrations.qdrant.searching.candidates import (
    Candidate,
    Rankings,
    in_depths,
    units,
)
from decant.integrations.qdrant.searching.fusion import fuse
from decant.integrations.qdrant.stores.protocol import Json, Payload, Ranking

NOW = datetime(2026, 1, 31, tzinfo=UTC)
METADATA: list[Json] = [{}, {"year": 1}, {"year": True}, {"year": "1"}, {"year": 2.5}]


@st.composite
def points(draw: st.DrawFn) -> dict[str, Payload]:
    """Return up to thirty points of few sources, texts, years and roots."""
    count = draw(st.integers(0, 30))
    return {
        f"{number:02}": {
            "kind": draw(st.sampled_from(["chunk", "record"])),
            "root": draw(st.sampled_from(["", "r"])),
            "source": draw(st.sampled_from(["", "a", "b", "c"])),
            "text_sha256": draw(st.sampled_from("uvwxyz")),
            "metadata": draw(st.sampled_from(METADATA)),
        }
        for number in range(count)
    }


@st.composite
def rankings_of(draw: st.DrawFn, ids: list[str]) -> Rankings:
    """Return two rankings of some of these ids."""
    found: dict[str, Ranking] = {}
    for name in ("dense", "words"):
        held = draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
        scores = draw(st.lists(st.integers(-3, 9), min_size=len(held), max_size=len(held)))
        ordered = sorted(map(float, scores), reverse=True)
        found[name] = list(zip(held, ordered, strict=True))
    return Rankings(named=found)


options = st.builds(
    SearchOptions,
    distinct=st.booleans(),
    boosts=st.sampled_from([(), (Boost("year", weight=0.5),), (Boost("year", weight=-2),)]),
    group=st.none() | st.builds(Group, by=st.sampled_from([None, "year"]), size=st.integers(1, 3)),
)


def stream(
    found: Rankings, held: Mapping[str, Payload], chosen: SearchOptions, depth: int
) -> Callable[[], Iterator[list[Candidate]]]:
    def fetch(most: int) -> Rankings:
        return Rankings(named={name: ranking[:most] for name, ranking in found.named.items()})

    def facts(ids: list[str], _: tuple[str, ...]) -> Mapping[str, Payload]:
        return {identity: held[identity] for identity in ids}

    return lambda: read(
        units(
            in_depths(immediate(fetch), lambda some: fuse(some.named, Fusion()), first=depth),
            chosen,
            immediate(facts),
        )
    )


def read(found: AsyncGenerator[list[Candidate], None]) -> Iterator[list[Candidate]]:
    """Yield what coroutines yield that never wait."""
    with suppress(StopAsyncIteration):
        while True:
            yield run_now(anext(found))  # type: ignore[arg-type]


@given(st.data(), points(), options, st.integers(1, 5), st.integers(1, 4))
def test_pages_make_up_one_long_page(
    data: st.DataObject,
    held: dict[str, Payload],
    chosen: SearchOptions,
    depth: int,
    page: int,
) -> None:
    found = data.draw(rankings_of([*held]))
    begin = stream(found, held, chosen, depth)
    whole = [*begin()]
    pages = [[*islice(begin(), start, start + page)] for start in range(0, len(whole), page)]
    assert [one for part in pages for one in part] == whole
    ids = [candidate.id for unit in whole for candidate in unit]
    assert len(ids) == len({*ids})
    reachable = {identity for ranking in found.named.values() for identity, _ in ranking}
    assert {*ids} <= reachable
    if chosen.group is None and not chosen.distinct:
        assert {*ids} == reachable


def naive(
    found: Rankings, held: Mapping[str, Payload], chosen: SearchOptions
) -> list[list[tuple[str, float]]]:
    """Return what one depth holds, step by step as the documents say it."""
    hits = []
    for identity, score in fuse(found.named, Fusion()):
        metadata = held[identity]["metadata"]
        assert isinstance(metadata, dict)
        year = metadata.get("year", 0)
        share = sum(
            boost.weight * (year if isinstance(year, int | float) else 0) for boost in chosen.boosts
        )
        hits.append((identity, score + abs(score) * share))
    hits.sort(key=lambda hit: (-hit[1], hit[0]))
    if chosen.distinct:
        seen: set[Json] = set()
        kept = []
        for hit in hits:
            text = held[hit[0]]["text_sha256"]
            if text not in seen:
                kept.append(hit)
            seen.add(text)
        hits = kept
    if chosen.group is None:
        return [[hit] for hit in hits]
    groups: dict[str, list[tuple[str, float]]] = {}
    for hit in hits:
        payload = held[hit[0]]
        metadata = payload["metadata"]
        assert isinstance(metadata, dict)
        if chosen.group.by is None:
            whole = payload["kind"] == "chunk" or payload["source"]
            key = repr((payload["root"], payload["source"])) if whole else hit[0]
        else:
            year = metadata.get("year")
            key = hit[0] if year is None else f"{type(year)} {year}"
        groups.setdefault(key, []).append(hit)
    return [group[: chosen.group.size] for group in groups.values()]


@given(st.data(), points(), options)
def test_one_depth_is_as_a_plain_loop_has_it(
    data: st.DataObject, held: dict[str, Payload], chosen: SearchOptions
) -> None:
    found = data.draw(rankings_of([*held]))
    got = [*stream(found, held, chosen, 100)()]
    expected = naive(found, held, chosen)
    assert [[one.id for one in unit] for unit in got] == [
        [identity for identity, _ in unit] for unit in expected
    ]
    for unit, wanted in zip(got, expected, strict=True):
        for candidate, (_, score) in zip(unit, wanted, strict=True):
            assert candidate.score == pytest.approx(score)
            plain = dict(fuse(found.named, Fusion()))[candidate.id]
            assert candidate.score - candidate.boost == pytest.approx(plain)


def test_what_is_not_asked_for_is_not_fetched() -> None:
    asked: list[int] = []

    def fetch(most: int) -> Rankings:
        asked.append(most)
        ranking = [(f"{place:04}", -float(place)) for place in range(min(most, 1_000))]
        return Rankings(named={"dense": ranking})

    def begin() -> Iterator[list[Candidate]]:
        depths = in_depths(immediate(fetch), lambda found: found.named["dense"], first=100)
        return read(units(depths, SearchOptions(), immediate(lambda _ids, _fields: {})))

    assert len([*islice(begin(), 100)]) == 100
    assert asked == [100]
    assert len([*begin()]) == 1_000
    assert asked == [100, 100, 200, 400, 800, 1600]


def test_what_is_gone_when_its_facts_are_read_is_left_out() -> None:
    found = Rankings(named={"dense": [("a", 1.0), ("b", 0.5)]})
    depths = in_depths(immediate(lambda _: found), lambda some: some.named["dense"], first=10)
    facts = immediate(lambda _ids, _fields: {"b": {}})
    got = read(units(depths, SearchOptions(distinct=True), facts))
    assert [candidate.id for unit in got for candidate in unit] == ["b"]


class TestRecency:
    @pytest.mark.parametrize(
        ("date", "share"),
        [
            ("2026-01-31", 1.0),
            ("2026-01-01", 0.5),
            ("2025-12-02T00:00:00Z", 0.25),
            ("2026-01-01T02:00:00+02:00", 0.5),
            ("2027-01-01", 1.0),
            ("last year", 0.0),
            (20260101, 0.0),
            (None, 0.0),
        ],
    )
    def test_half_of_the_weight_is_left_after_one_half_life(self, date: Json, share: float) -> None:
        recent = Recency("date", half_life=timedelta(days=30), weight=0.2, at=NOW)
        score = boosted(0.5, {"metadata": {"date": date}}, [recent])
        assert score == pytest.approx(0.5 * (1 + 0.2 * share))

    def test_a_missing_entry_changes_nothing(self) -> None:
        recent = Recency(("a", "date"), half_life=timedelta(1), weight=1, at=NOW)
        without: list[Payload] = [
            {},
            {"metadata": {}},
            {"metadata": {"a": 3}},
            {"metadata": {"a": [1]}},
        ]
        for payload in without:
            assert boosted(0.5, payload, [recent]) == 0.5

    def test_ages_count_from_one_moment(self) -> None:
        given = [Recency("date", half_life=timedelta(1), weight=1) for _ in range(2)]
        moments = {boost.at for boost in settle(given) if isinstance(boost, Recency)}
        assert len(moments) == 1
        (moment,) = moments
        assert moment is not None
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)

    @given(st.floats(-1, 30), st.floats(0, 3), st.floats(0, 3))
    def test_a_positive_weight_never_lowers_and_more_raises_more(
        self, score: float, weight: float, more: float
    ) -> None:
        payload: Payload = {"metadata": {"date": "2026-01-01", "stars": 3}}
        for boost in (Recency, Boost):
            key = "date" if boost is Recency else "stars"

            def of(value: float, key: str = key) -> float:
                made = (
                    Recency(key, half_life=timedelta(9), weight=value, at=NOW)
                    if key == "date"
                    else Boost(key, weight=value)
                )
                return boosted(score, payload, [made])

            assert score <= of(weight) <= of(weight + more)


class TestOverflow:
    @pytest.mark.parametrize(
        ("weights", "value"),
        [
            ((1e308,), 1e308),
            ((1e308, 1e308), 1),
            ((1e308, -1e308), 10),  # infinity and its opposite: not a number
            ((2.0,), 10**400),
            ((10**300,), 10**300),
        ],
    )
    @pytest.mark.parametrize("score", [0.5, 0.0])
    def test_no_boost_makes_a_score_that_is_no_finite_number(
        self, weights: tuple[float, ...], value: Json, score: float
    ) -> None:
        boosts = [Boost("stars", weight=weight) for weight in weights]
        with pytest.raises(StoreError, match=r"'stars'.*give a smaller weight"):
            boosted(score, {"metadata": {"stars": value}}, boosts)

    @given(
        st.floats(-30, 30),
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3),
        st.floats() | st.integers(),
    )
    def test_a_boosted_score_is_finite_or_refused(
        self, score: float, weights: list[float], value: Json
    ) -> None:
        boosts = [Boost("stars", weight=weight) for weight in weights]
        try:
            found = boosted(score, {"metadata": {"stars": value}}, boosts)
        except StoreError:
            assert isinstance(value, int | float)
            assert max(map(abs, weights)) * max(abs(value), 1.0) > 1e300
        else:
            assert math.isfinite(found)

    def test_a_value_that_is_no_finite_number_raises_nothing(self) -> None:
        for value in (math.nan, math.inf):
            assert boosted(0.5, {"metadata": {"n": value}}, [Boost("n", weight=1)]) == 0.5
