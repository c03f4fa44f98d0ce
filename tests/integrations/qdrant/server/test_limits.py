"""Limits that a server sets for a collection stop nothing: requests shrink to them.

The double sets each limit alone, after the collection was opened, so that it is learnt from the
refusal; what the settings say at opening is in ``stores/test_contract.py``.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    CollectionMetadata,
    CollectionSettings,
    Document,
    Equals,
    Field,
    FieldIn,
    FieldType,
    In,
    PayloadIndex,
    Point,
    Record,
    RemoteStore,
    Select,
    SparseVector,
)
from decant.integrations.qdrant.server.limits import Limits
from decant.integrations.qdrant.stores.queries import Query
from qdrant_double import QdrantDouble, reached

LIMITS: dict[str, Any] = {
    "max_query_limit": 100,
    "upsert_max_batchsize": 50,
    "search_allow_exact": False,
    "condition_max_size": 10,
    "read_rate_limit": 5,
    "write_rate_limit": 7,
    "unindexed_filtering_retrieve": False,
    "unindexed_filtering_update": False,
    "max_payload_index_count": 5,
    "filter_max_conditions": 10,
}
YEAR = CollectionSettings(indexed=(PayloadIndex(key="year", type=FieldType.INTEGER),))
COUNT = 180


@pytest.fixture
def quick(double: QdrantDouble) -> QdrantDouble:
    """Return the double, for which a minute passes between any two requests."""
    minutes = itertools.count(step=60)
    double.engine.clock = lambda: float(next(minutes))
    return double


@pytest.fixture
def filled(quick: QdrantDouble) -> Iterator[Collection]:
    with reached(quick) as store:
        collection = Collection.create(store, "docs", HashEncoder(8), settings=YEAR)
        collection.add(records(COUNT))
        yield collection


def records(count: int) -> list[Record]:
    return [
        Record(id=str(n), text=f"the year {n}", source=f"s{n}", metadata={"year": 1_000 + n})
        for n in range(count)
    ]


def documents(count: int, *, salt: str = "") -> list[Document]:
    return [
        Document(source=f"d{n}", text=f"ships and harbours {n} {salt}", root="r")
        for n in range(count)
    ]


@pytest.mark.parametrize("limit", LIMITS)
def test_no_limit_alone_stops_what_a_collection_does(
    filled: Collection, quick: QdrantDouble, limit: str
) -> None:
    quick.limit("docs", **{limit: LIMITS[limit]})
    chunking = Chunking(max_tokens=32)
    assert filled.index(documents(70), chunking=chunking).added == 70
    assert filled.index(documents(70), chunking=chunking).unchanged == 70
    changed = filled.index(documents(65, salt="again"), chunking=chunking)
    assert (changed.changed, changed.removed) == (65, 5)
    assert len(filled.add(records(COUNT))) == COUNT
    info = filled.info()
    assert (info.passages, info.documents) == (COUNT + 65, 65)
    assert len(list(filled.each())) == COUNT + 65
    assert len(filled.get([str(n) for n in range(COUNT)])) == COUNT
    assert len(filled.search("the year 7", limit=COUNT + 65)) == COUNT + 65
    ids = [str(n) for n in range(40)]
    assert filled.count(FieldIn(Field.ID, ids)) == 40
    # Each number is a condition of its own, and a filter cannot be cut as a list of names can.
    several = 3 if limit in ("filter_max_conditions", "read_rate_limit") else 40
    assert filled.count(In("year", [1_000 + n for n in range(several)])) == several
    assert filled.delete_where(In("year", [1_000, 1_001])) == 2
    assert filled.delete(ids) == 38
    assert filled.delete_source("d3") == 1
    filled.clear()
    assert filled.count() == 0
    assert filled.info().documents == 0


def test_a_limit_is_refused_once_and_then_kept_to(filled: Collection, quick: QdrantDouble) -> None:
    quick.limit("docs", max_query_limit=100)
    for _ in range(3):
        assert len(list(filled.each())) == COUNT
    refused = [asked for asked in quick.requests("POST", "/scroll") if asked.status == 400]
    assert [asked.body["limit"] for asked in refused] == [1_000]


def test_a_limit_that_the_settings_name_is_never_run_into(
    filled: Collection, quick: QdrantDouble
) -> None:
    quick.limit("docs", **{name: LIMITS[name] for name in LIMITS if "rate" not in name})
    with reached(quick) as store:
        opened = Collection.open(store, "docs", HashEncoder(8))
        opened.index(documents(70), chunking=Chunking(max_tokens=32))
        assert len(list(opened.each())) == COUNT + 70
        # More documents than one condition may list, in more parts than a filter may have.
        opened.index(documents(270), chunking=Chunking(max_tokens=32))
        assert opened.check().is_sound
        opened.index(documents(260), chunking=Chunking(max_tokens=32), verify=True)
        assert opened.info().documents == 260
        opened.clear()
        assert opened.count() == 0
    assert {asked.status for asked in quick.asked} == {200}


def test_counting_without_exact_counts_is_exact(filled: Collection, quick: QdrantDouble) -> None:
    quick.limit("docs", search_allow_exact=False, max_query_limit=7)
    assert filled.count() == COUNT
    assert all(asked.body["exact"] for asked in quick.requests("POST", "/count"))


def test_ids_are_looked_for_without_an_index(filled: Collection, quick: QdrantDouble) -> None:
    quick.limit("docs", unindexed_filtering_retrieve=False)
    hits = filled.search("the year", where=FieldIn(Field.ID, ["3", "4"]))
    assert sorted(hit.id for hit in hits) == ["3", "4"]
    assert filled.delete_where(FieldIn(Field.ID, ["3", "nobody"])) == 1


@pytest.mark.parametrize("way", ["search", "count", "delete_where"])
def test_a_filter_without_index_is_refused_with_what_to_do(
    filled: Collection, quick: QdrantDouble, way: str
) -> None:
    quick.limit("docs", unindexed_filtering_retrieve=False)
    where = Equals("größe", "XL")
    act: dict[str, Callable[[], object]] = {
        "search": lambda: filled.search("the year", where=where),
        "count": lambda: filled.count(where),
        "delete_where": lambda: filled.delete_where(where),
    }
    with pytest.raises(StoreError, match=r"add_index\(PayloadIndex\(key='größe'\)\)"):
        act[way]()
    filled.add_index(PayloadIndex(key="größe"))
    act[way]()


def test_the_type_of_an_index_that_is_missing_is_named(
    filled: Collection, quick: QdrantDouble
) -> None:
    quick.limit("docs", unindexed_filtering_retrieve=False)
    with pytest.raises(
        StoreError, match=r"PayloadIndex\(key=\('a b', 'c'\), type=FieldType.FLOAT\)"
    ):
        filled.count(Equals(("a b", "c"), 3))


class TestTooManyIndexes:
    def test_adding_one_says_so_and_notes_nothing(
        self, filled: Collection, quick: QdrantDouble
    ) -> None:
        quick.limit("docs", max_payload_index_count=5)
        with pytest.raises(StoreError, match="raise max_payload_index_count"):
            filled.add_index(PayloadIndex(key="late"))
        assert len(quick.engine.held["docs"].config["metadata"]["decant_indexes"]) == 5
        filled.add_index(PayloadIndex(key="year", type=FieldType.INTEGER))  # it is there

    def test_a_collection_that_may_not_have_them_is_not_half_made(self) -> None:
        with (
            QdrantDouble(strict={"max_payload_index_count": 4}) as double,
            reached(double) as store,
        ):
            with pytest.raises(StoreError, match="raise max_payload_index_count"):
                store.create("docs", CollectionMetadata.of(HashEncoder(8)), YEAR)
            assert store.names() == []
            store.create("docs", CollectionMetadata.of(HashEncoder(8)), CollectionSettings())


class TestRates:
    def test_a_request_that_can_never_pass_is_cut(
        self, filled: Collection, quick: QdrantDouble
    ) -> None:
        quick.limit("docs", read_rate_limit=5)
        asked = len(quick.asked)
        assert len(filled.get([str(n) for n in range(64)])) == 64
        sizes = [len(it.body["ids"]) for it in quick.asked[asked:] if it.status == 200]
        assert sizes == [4] * 16, "halves of 64 until they pass"

    def test_what_cannot_be_cut_is_refused(self, filled: Collection, quick: QdrantDouble) -> None:
        quick.limit("docs", read_rate_limit=1)
        with pytest.raises(StoreError, match="larger than rate limiter capacity"):
            filled.count(FieldIn(Field.SOURCE, ["s1"]))


class TestRankings:
    @pytest.mark.parametrize("limit", ["max_query_limit", "search_max_batchsize"])
    def test_several_are_as_long_as_asked_for(self, quick: QdrantDouble, limit: str) -> None:
        with reached(quick) as store:
            fill_sparse(store)
            quick.limit("both", **{limit: 12 if limit == "max_query_limit" else 1})
            store.card("both")
            queries: list[Query] = [np.ones(2, np.float32), sparse(1)]
            for ranking in store.rank("both", queries, limit=25):
                assert len(dict(ranking)) == 25

    def test_a_long_list_of_one_kind_comes_in_pages(self, quick: QdrantDouble) -> None:
        with reached(quick) as store:
            fill_sparse(store)
            quick.limit("both", max_query_limit=12)
            for query in (np.ones(2, np.float32), sparse(1)):
                found = store.query("both", query, Select(), limit=40)
                assert len({item.point.id for item in found}) == 30
                scores = [item.score for item in found]
                assert scores == sorted(scores, reverse=True)
                third = store.query("both", query, Select(), limit=20, offset=5)
                assert [item.point.id for item in third] == [it.point.id for it in found[5:25]]


def sparse(weight: float) -> SparseVector:
    return SparseVector(indices=np.asarray([3]), values=np.asarray([weight], np.float32))


def fill_sparse(store: RemoteStore) -> None:
    store.create("both", CollectionMetadata.of(HashEncoder(2, sparse=True)), CollectionSettings())
    points = [
        Point(
            id=str(uuid.UUID(int=n)),
            payload={},
            dense=np.asarray([1, n / 30], np.float32),
            sparse=sparse(n + 1),
        )
        for n in range(30)
    ]
    store.upsert("both", points)


def test_the_settings_of_a_collection_without_strict_mode_limit_nothing() -> None:
    assert Limits.of(None) == Limits()
