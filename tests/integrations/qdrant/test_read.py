"""What a collection holds is searched, counted and read, also as coroutines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from decant.embedders import (
    HashEncoder,
    Prompt,
    Role,
    StoreError,
    TextError,
    Vectors,
)
from decant.integrations.qdrant import (
    Collection,
    Document,
    Equals,
    Field,
    FieldIn,
    Hit,
    Not,
    Range,
    Record,
    Store,
)


class TestReading:
    def test_missing_ids_are_left_out_and_the_order_is_that_of_the_ids(
        self, years: Collection
    ) -> None:
        assert [item.id for item in years.get(["7", "nothing", "2", "7"])] == ["7", "2", "7"]
        assert years.get([]) == []

    def test_hits_are_best_first_with_cosine_scores(self, years: Collection) -> None:
        hits = years.search("the year 3 of the reign", limit=4)
        assert len(hits) == 4
        assert hits[0].id == "3"
        assert hits[0].score == pytest.approx(1, abs=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert hits[0].metadata == {"year": 2003, "even": False, "tags": ["a", "t3"]}

    def test_an_offset_passes_over_the_best(self, years: Collection) -> None:
        everything = [hit.id for hit in years.search("the year 3", limit=10)]
        assert [hit.id for hit in years.search("the year 3", limit=4, offset=3)] == everything[3:7]
        assert years.search("the year 3", offset=10) == []

    def test_the_query_prompt_is_used_for_queries_only(self, store: Store) -> None:
        prompted = HashEncoder(16, query_prompt=Prompt(prefix="what is "))
        collection = Collection.create(store, "docs", prompted)
        collection.add([Record(id="1", text="what is love"), Record(id="2", text="love")])
        assert collection.search("love")[0].id == "1"

    def test_vectors_come_with_hits_and_passages_when_asked_for(self, years: Collection) -> None:
        expected = years.encoder.encode(["the year 3 of the reign"], role=Role.PASSAGE).dense[0]
        (hit,) = years.search("the year 3 of the reign", limit=1, with_vectors=True)
        (held,) = years.get(["3"], with_vectors=True)
        for vector in (hit.vector, held.vector):
            assert vector is not None
            np.testing.assert_allclose(vector, expected, atol=1e-6)

    def test_a_list_of_floats_is_a_vector(self, years: Collection) -> None:
        vector = years.encoder.encode(["the year 3 of the reign"], role=Role.QUERY).dense[0]
        assert years.search_vector(vector.tolist(), limit=1)[0].id == "3"

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_below_one_is_refused(self, years: Collection, limit: int) -> None:
        with pytest.raises(StoreError, match=f"got limit={limit}, offset=0"):
            years.search("x", limit=limit)
        with pytest.raises(StoreError, match="offset=-2"):
            years.search("x", offset=-2)

    def test_an_empty_query_is_refused(self, years: Collection) -> None:
        with pytest.raises(TextError, match="text 0 is empty"):
            years.search("")

    def test_a_query_vector_of_another_width_is_refused(self, years: Collection) -> None:
        with pytest.raises(StoreError, match=r"\(1, 16\), got \(1, 3\)"):
            years.search_vector(np.ones(3, np.float32))

    def test_searching_an_empty_collection_finds_nothing(self, collection: Collection) -> None:
        assert collection.search("anything") == []
        assert collection.count() == 0

    def test_all_passages_can_be_gone_through(self, years: Collection) -> None:
        years.index([Document(source="doc", text="more")])
        everything = list(years.each(with_vectors=True))
        assert len(everything) == 11
        assert all(item.vector is not None for item in everything)
        late = years.each(Range("year", gte=2007))
        assert sorted(item.id for item in late) == ["7", "8", "9"]

    def test_counting_takes_conditions(self, years: Collection) -> None:
        assert years.count() == 10
        assert years.count(Range("year", gte=2004)) == 6
        assert years.count(FieldIn(Field.SOURCE, ["book-0", "book-1"])) == 7
        assert years.count(FieldIn(Field.ID, ["4", "5", "x"])) == 2

    def test_markers_are_never_seen(self, years: Collection) -> None:
        document = Document(source="doc", text="the year 3 of the reign")
        years.index([document])
        assert years.count() == 11
        assert len(years.search("the year 3", limit=100)) == 11
        assert years.count(Not(Equals("year", 2003))) == 10
        assert years.count(FieldIn(Field.SOURCE, ["doc"])) == 1
        assert years.get([document.key.marker_id]) == []


class TestAsync:
    async def test_each_method_has_a_coroutine_that_does_the_same(
        self, collection: Collection
    ) -> None:
        records = [Record(id=str(number), text=f"number {number}") for number in range(5)]
        assert await collection.aadd(records) == [str(number) for number in range(5)]
        assert [item.id for item in await collection.aget(["3", "x"])] == ["3"]
        (hit,) = await collection.asearch("number 2", limit=1)
        assert hit.id == "2"
        vector = collection.encoder.encode(["number 2"], role=Role.QUERY).dense[0]
        assert [same.id for same in await collection.asearch_vector(vector, limit=1)] == ["2"]
        assert await collection.adelete(["0"]) == 1
        assert await collection.adelete_where(FieldIn(Field.ID, ["1"])) == 1
        report = await collection.aindex([Document(source="doc", text="text")])
        assert report.added == 1
        assert await collection.acount() == 4
        assert await collection.adelete_source("doc") == 1
        await collection.aclear()
        assert await collection.acount() == 0

    async def test_many_adds_at_once_lose_nothing(self, collection: Collection) -> None:
        batches = [
            [Record(id=f"{batch}-{number}", text=f"text {number}") for number in range(50)]
            for batch in range(8)
        ]
        await asyncio.gather(*map(collection.aadd, batches))
        assert await collection.acount() == 400

    async def test_the_event_loop_runs_on_while_searching(self, store: Store) -> None:
        collection = Collection.create(store, "docs", _Slow(16))
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        found: list[Hit] = await collection.asearch("anything")
        ticking.cancel()
        assert found == []
        assert ticks >= 5


class _Slow(HashEncoder):
    """Takes its time."""

    def encode(self, texts: Iterable[str], *, role: Role, **options: Any) -> Vectors:
        time.sleep(0.3)
        return super().encode(texts, role=role, **options)
