"""A boost by an entry that no candidate has is reported, once a search, with what they have."""

from __future__ import annotations

from datetime import timedelta
from importlib.metadata import version

import pytest
from packaging.version import Version

from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Boost,
    Collection,
    Engine,
    Equals,
    Recency,
    Record,
    SearchOptions,
    Store,
)


@pytest.fixture
def books(store: Store) -> Collection:
    """Return twelve books, of which one alone has a price."""
    made = Collection.create(store, "books", HashEncoder(8))
    made.add(
        [
            Record(
                id=str(n),
                text=f"a book of kind {n}",
                metadata={
                    "year": 2000 + n,
                    "date": f"2020-01-{n + 1:02}",
                    "author": {"born": 1900 + n},
                    "a.b": n,
                    **({"price": 3} if n == 7 else {}),
                },
            )
            for n in range(12)
        ]
    )
    return made


def said(
    caplog: pytest.LogCaptureFixture, books: Collection, *boosts: Boost | Recency, limit: int = 3
) -> list[str]:
    """Return the warnings of a search with these boosts."""
    caplog.clear()
    books.search("a book", limit=limit, options=SearchOptions(boosts=boosts))
    return [record.getMessage() for record in caplog.records]


def recency(key: str | tuple[str, ...]) -> Recency:
    return Recency(key, half_life=timedelta(days=9), weight=1)


def test_a_mistyped_key_is_named_with_the_one_that_may_be_meant(
    books: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    (warning,) = said(caplog, books, Boost("yeer", weight=0.1), Boost("year", weight=0.1))
    assert "'books' has the metadata entry yeer" in warning
    assert 'no effect; they have year, "a.b", author.born, date, price' in warning
    (warning,) = said(caplog, books, Boost(("author", "bron"), weight=0.1))
    assert "author.bron" in warning
    assert "they have author.born, " in warning
    (warning,) = said(caplog, books, recency("dates"))
    assert "they have date, " in warning


def test_an_entry_of_another_type_is_shown(
    books: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = said(caplog, books, Boost("date", weight=0.1), recency("year"))
    assert "a number in the metadata entry date (one has '2020-01-" in first
    assert "a date or time in the metadata entry year (one has 20" in second


def test_an_entry_that_one_candidate_has_is_enough(
    books: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    fine = (Boost("price", weight=1), Boost(("author", "born"), weight=1))
    assert said(caplog, books, *fine, recency("date"), limit=1) == []


def test_an_entry_whose_name_has_a_dot_is_found(
    books: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    if books.store.engine is Engine.REMOTE and Version(version("qdrant-client")) < Version("1.20"):
        pytest.skip("the local mode of qdrant-client 1.19 selects no payload field in quotes")
    assert said(caplog, books, Boost("a.b", weight=1), limit=1) == []


def test_one_search_by_many_queries_says_it_once(
    books: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    options = SearchOptions(boosts=[Boost("yeer", weight=0.1)])
    books.search_many([f"book {n}" for n in range(70)], limit=2, options=options)
    assert len(caplog.records) == 1


def test_a_search_without_candidates_says_nothing(
    books: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    options = SearchOptions(boosts=[Boost("yeer", weight=0.1)])
    assert books.search("book", where=Equals("year", 1), options=options) == []
    assert not caplog.records


def test_passages_without_metadata_are_called_so(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    bare = Collection.create(store, "bare", HashEncoder(8))
    bare.add([Record(id="a", text="a book")])
    (warning,) = said(caplog, bare, Boost("year", weight=1))
    assert warning.endswith("they have no metadata")
