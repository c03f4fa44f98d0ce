"""Collections: made, opened, filled one by one, searched, emptied; the same on both engines."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from qdrant_client import models

from decant.embedders import (
    CollectionMismatch,
    HashEncoder,
    Progress,
    Prompt,
    Role,
    StoreError,
    TextError,
    Vectors,
)
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    Equals,
    Field,
    FieldIn,
    Hit,
    Indexed,
    Not,
    Range,
    Record,
    Store,
)


class TestOpening:
    def test_an_open_collection_holds_what_was_added_before(
        self, store: Store, encoder: HashEncoder
    ) -> None:
        Collection.create(store, "docs", encoder).add([Record(id="1", text="one")])
        again = Collection.open(store, "docs", HashEncoder(16))
        assert again.count() == 1
        assert (again.name, again.store) == ("docs", store)

    def test_another_recipe_is_refused_and_both_are_named(
        self, store: Store, encoder: HashEncoder
    ) -> None:
        Collection.create(store, "docs", encoder)
        other = HashEncoder(16, query=Prompt(prefix="query: "))
        with pytest.raises(CollectionMismatch) as caught:
            Collection.open(store, "docs", other)
        said = str(caught.value)
        assert encoder.recipe.digest() in said
        assert other.recipe.digest() in said
        assert "query: {'prefix': '', 'suffix': ''} there" in said
        assert "passage" not in said.partition("they differ in")[2].partition(". Open")[0]

    def test_an_absent_collection_is_an_error_that_names_those_that_are(
        self, store: Store, encoder: HashEncoder
    ) -> None:
        with pytest.raises(StoreError, match="it holds no collection yet"):
            Collection.open(store, "docs", encoder)
        Collection.create(store, "one", encoder)
        Collection.create(store, "two", encoder)
        with pytest.raises(StoreError, match="it holds 'one', 'two'"):
            Collection.open(store, "docs", encoder)

    def test_a_collection_is_not_made_twice(self, store: Store, encoder: HashEncoder) -> None:
        Collection.create(store, "docs", encoder)
        with pytest.raises(StoreError, match=r"open it with Collection\.open"):
            Collection.create(store, "docs", encoder)

    def test_opening_or_making_does_whichever_is_needed(
        self, store: Store, encoder: HashEncoder
    ) -> None:
        Collection.open_or_create(store, "docs", encoder).add([Record(text="one")])
        assert Collection.open_or_create(store, "docs", encoder).count() == 1
        with pytest.raises(CollectionMismatch):
            Collection.open_or_create(store, "docs", HashEncoder(8))

    def test_many_may_open_or_make_at_the_same_time(
        self, store: Store, encoder: HashEncoder
    ) -> None:
        def work(number: int) -> None:
            collection = Collection.open_or_create(store, "docs", encoder)
            collection.add([Record(id=str(number), text="same")])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert Collection.open(store, "docs", encoder).count() == 4

    def test_info_says_what_it_is_and_holds(self, store: Store, encoder: HashEncoder) -> None:
        settings = CollectionSettings(indexed=(Indexed(key="year"),), hnsw_m=8)
        collection = Collection.create(store, "docs", encoder, settings=settings)
        collection.add([Record(text="one")])
        collection.index([Document(source="a", text="two"), Document(source="b", text="")])
        info = collection.info()
        assert (info.name, info.dim, info.passages, info.documents) == ("docs", 16, 2, 2)
        assert info.digest == encoder.recipe.digest()
        assert (info.engine, info.place) == (store.engine, store.place)

    @pytest.mark.parametrize(("m", "ef"), [(-1, 100), (16, 3)])
    def test_settings_out_of_range_are_refused(self, m: int, ef: int) -> None:
        with pytest.raises(StoreError, match="at least"):
            CollectionSettings(hnsw_m=m, hnsw_ef_construct=ef)


class TestAdding:
    def test_ids_come_back_in_order_and_are_drawn_where_missing(
        self, collection: Collection
    ) -> None:
        ids = collection.add([Record(id="b", text="x"), Record(text="y"), Record(id="a", text="z")])
        assert ids[0] == "b"
        assert ids[2] == "a"
        uuid.UUID(ids[1])
        assert [item.text for item in collection.get(ids)] == ["x", "y", "z"]
        assert collection.add([]) == []

    @pytest.mark.parametrize("identity", ["1", "a/b c", "ä", str(uuid.uuid4()), "x" * 3_000])
    def test_any_string_is_an_id(self, collection: Collection, identity: str) -> None:
        assert collection.add([Record(id=identity, text="one")]) == [identity]
        assert collection.search("one")[0].id == identity
        assert collection.get([identity])[0].id == identity
        assert collection.delete([identity]) == 1

    def test_adding_an_id_again_replaces_the_record(self, collection: Collection) -> None:
        collection.add([Record(id="1", text="old", metadata={"a": 1}, source="s")])
        collection.add([Record(id="1", text="new")])
        (found,) = collection.get(["1"])
        assert (found.text, found.metadata, found.source) == ("new", {}, "")
        assert collection.count() == 1

    def test_of_an_id_given_twice_the_last_counts(self, collection: Collection) -> None:
        ids = collection.add([Record(id="1", text="old"), Record(id="1", text="new")])
        assert ids == ["1", "1"]
        assert [item.text for item in collection.get(["1"])] == ["new"]

    def test_what_is_stored_comes_back_to_the_letter(self, collection: Collection) -> None:
        record = Record(
            id="1",
            text="  \n naïve \U0001f600\t",
            source="a/b.md",
            metadata={"a.b": [1, 2.5, None, {"c": True}], "": ""},
        )
        collection.add([record])
        (found,) = collection.get(["1"])
        assert (found.text, found.source, found.metadata) == (
            record.text,
            record.source,
            record.metadata,
        )
        assert (found.root, found.start, found.vector) == (None, 0, None)

    def test_vectors_may_be_given(self, collection: Collection) -> None:
        given = np.eye(16, dtype=np.float32)[:2]
        collection.add([Record(id="1", text="one"), Record(id="2", text="two")], vectors=given)
        (best,) = collection.search_vector(given[1], limit=1, with_vectors=True)
        assert best.id == "2"
        assert best.score == pytest.approx(1)
        assert best.vector is not None
        np.testing.assert_allclose(best.vector, given[1], atol=1e-6)

    def test_bad_vectors_are_refused_and_nothing_is_stored(self, collection: Collection) -> None:
        records = [Record(id="1", text="one"), Record(id="2", text="two")]
        vectors = np.ones((2, 16), np.float32)
        vectors[1, 0] = np.nan
        with pytest.raises(StoreError, match="the vector of record '2' is not finite"):
            collection.add(records, vectors=vectors)
        with pytest.raises(StoreError, match=r"expected vectors of shape \(2, 16\), got \(2, 8\)"):
            collection.add(records, vectors=np.ones((2, 8), np.float32))
        assert collection.count() == 0

    def test_an_encoder_that_gives_nan_is_caught_and_the_text_named(self, store: Store) -> None:
        collection = Collection.create(store, "docs", _NanEncoder(16))
        with pytest.raises(StoreError, match="'a poisoned text' is not finite"):
            collection.add([Record(text="fine"), Record(text="a poisoned text")])
        assert collection.count() == 0
        with pytest.raises(StoreError, match=r"chunk 0 of document 'bad\.md' is not finite"):
            collection.index([Document(source="bad.md", text="poisoned")])
        assert collection.count() == 0
        with pytest.raises(StoreError, match="the query is not finite"):
            collection.search("poisoned")

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({"text": ""}, TextError),
            ({"text": "\ud800"}, TextError),
            ({"text": None}, TextError),
            ({"id": ""}, TextError),
            ({"id": "\udfff"}, TextError),
            ({"source": 3}, TextError),
            ({"metadata": {"x": {1, 2}}}, StoreError),
        ],
    )
    def test_a_record_that_cannot_be_stored_cannot_be_made(
        self, fields: dict[str, object], error: type[Exception]
    ) -> None:
        held: dict[str, object] = {"text": "t", "id": "1", **fields}
        with pytest.raises(error):
            Record(**held)  # type: ignore[arg-type]

    def test_equal_texts_are_embedded_once(self, store: Store) -> None:
        encoder = _Counting(16)
        collection = Collection.create(store, "docs", encoder)
        collection.add([Record(text="same") for _ in range(50)])
        assert encoder.texts == ["same"]
        assert collection.count() == 50

    def test_a_marker_cannot_be_overwritten(self, collection: Collection) -> None:
        document = Document(source="a", text="one")
        collection.index([document])
        with pytest.raises(StoreError, match="belongs to decant itself"):
            collection.add([Record(id=document.key.marker_id, text="x")])


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
        prompted = HashEncoder(16, query=Prompt(prefix="what is "))
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


class TestDeleting:
    def test_deleting_says_how_many_there_were(self, years: Collection) -> None:
        assert years.delete(["1", "2", "2", "nothing"]) == 2
        assert years.delete([]) == 0
        assert years.count() == 8

    def test_deleting_by_condition(self, years: Collection) -> None:
        assert years.delete_where(Range("year", lt=2003)) == 3
        theirs = models.Filter(
            must=[models.FieldCondition(key="metadata.even", match=models.MatchValue(value=True))]
        )
        assert years.delete_where(theirs) == 3
        assert sorted(hit.id for hit in years.search("x")) == ["3", "5", "7", "9"]

    @pytest.mark.parametrize("where", [models.Filter(), models.Filter(must=[], should=[])])
    def test_a_filter_without_condition_deletes_nothing(
        self, years: Collection, where: models.Filter
    ) -> None:
        with pytest.raises(StoreError, match=r"would delete everything.*clear\(\)"):
            years.delete_where(where)
        assert years.count() == 10

    def test_clearing_deletes_all_and_the_collection_stays(self, years: Collection) -> None:
        documents = [Document(source="doc", text="words")]
        years.index(documents)
        years.clear()
        assert years.count() == 0
        assert years.info().documents == 0
        assert years.index(documents).added == 1

    def test_deleting_a_source_takes_documents_and_records(self, years: Collection) -> None:
        years.index([Document(source="book-0", text="one", root=root) for root in ("r", "s", None)])
        assert years.delete_source("book-0", root="r") == 1
        assert years.info().documents == 2
        assert years.delete_source("book-0") == 2 + 4
        assert years.info().documents == 0
        assert years.delete_source("book-0") == 0
        assert years.count() == 6

    def test_a_deleted_chunk_comes_back_with_the_next_indexing(
        self, collection: Collection
    ) -> None:
        documents = [Document(source="a", text="one"), Document(source="b", text="two")]
        collection.index(documents)
        (hit,) = collection.search("one", limit=1)
        assert collection.delete([hit.id]) == 1
        report = collection.index(documents)
        assert (report.changed, report.unchanged, report.embedded) == (1, 1, 1)
        assert collection.get([hit.id])[0].text == "one"

    def test_a_chunk_replaced_by_a_record_comes_back_too(self, collection: Collection) -> None:
        documents = [Document(source="a", text="one")]
        collection.index(documents)
        (hit,) = collection.search("one", limit=1)
        collection.add([Record(id=hit.id, text="usurper")])
        collection.index(documents)
        assert collection.get([hit.id])[0].text == "one"
        assert collection.count() == 1


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


class _Counting(HashEncoder):
    """Remembers what it embedded."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.texts: list[str] = []

    def encode(
        self, texts: Iterable[str], *, role: Role, progress: Progress | None = None
    ) -> Vectors:
        held = list(texts)
        self.texts += held
        return super().encode(held, role=role, progress=progress)


class _Slow(HashEncoder):
    """Takes its time."""

    def encode(
        self, texts: Iterable[str], *, role: Role, progress: Progress | None = None
    ) -> Vectors:
        time.sleep(0.3)
        return super().encode(texts, role=role, progress=progress)


class _NanEncoder(HashEncoder):
    """Gives NaN for poisoned texts, as a half-precision model may."""

    def _vector(self, words: list[str]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        vector = super()._vector(words)
        return vector * np.float32("nan") if "poisoned" in words else vector
