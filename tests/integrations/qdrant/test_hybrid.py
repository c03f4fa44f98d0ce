"""Collections with sparse vectors: both vectors in one pass, three modes of search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decant.embedders import (
    CollectionMismatch,
    HashEncoder,
    Output,
    Role,
    SparseVectors,
    StoreError,
    TextError,
    Vectors,
)
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    CollectionMetadata,
    CollectionSettings,
    Document,
    Equals,
    Fusion,
    IndexReport,
    Point,
    Record,
    SearchMode,
    Select,
    Store,
    connect,
)
from decant.integrations.qdrant.points.golden import GOLDEN_TEXT
from decant.integrations.qdrant.points.payloads import PASSAGES

SMALL = Chunking(max_tokens=8)
BLANK = " "  # it can be embedded, and no word of it weighs anything

MODES = (SearchMode.DENSE, SearchMode.SPARSE, SearchMode.HYBRID)
"""Of a collection with sparse vectors and without an index of words."""


class Asked(HashEncoder):
    """Gives sparse vectors, and remembers what it was asked for, and how often.

    Golden vectors, which collections on a server keep, are left out.
    """

    def __init__(self) -> None:
        super().__init__(16, sparse=True)
        self.passes: list[tuple[Role, tuple[Output, ...]]] = []
        self.texts: list[str] = []

    def stream(
        self, texts: Iterable[str], *, role: Role, outputs: Any = (), **options: Any
    ) -> Iterator[Vectors]:
        def watched() -> Iterator[str]:
            for text in texts:
                self.texts.append(text)
                yield text

        if texts == [GOLDEN_TEXT]:
            yield from super().stream(texts, role=role, outputs=outputs, **options)
            return
        self.passes.append((role, tuple(outputs)))
        yield from super().stream(watched(), role=role, outputs=outputs, **options)


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def docs(store: Store, asked: Asked) -> Collection:
    return Collection.create(store, "docs", asked)


def with_beasts(docs: Collection) -> Collection:
    """Return a collection of four records, one of which no query shares a word with."""
    texts = {"cat": "a cat sat", "dog": "a dog sat here", "cats": "cat cat cat", "rain": "rain"}
    docs.add(
        [Record(id=id_, text=text, metadata={"letters": len(text)}) for id_, text in texts.items()]
    )
    return docs


@pytest.fixture
def beasts(docs: Collection) -> Collection:
    return with_beasts(docs)


@pytest.fixture(scope="module")
def shared_beasts(shared_store: Store) -> Collection:
    return with_beasts(Collection.create(shared_store, "docs", Asked()))


def points(collection: Collection) -> list[Point]:
    fetch = Select(dense=True, sparse=True)
    return collection.store.scroll(collection.name, PASSAGES, fetch, limit=1_000).points


def assert_as_embedded(collection: Collection) -> None:
    """Compare every stored vector with what the encoder gives for the text alone."""
    encoder = HashEncoder(16, sparse=True)
    for point in points(collection):
        text = str(point.payload["text"])
        fresh = encoder.encode([text], role=Role.PASSAGE, outputs=[Output.SPARSE])
        assert fresh.sparse is not None
        assert point.dense is not None
        np.testing.assert_allclose(point.dense, fresh.dense[0], atol=1e-5)
        indices, values = fresh.sparse[0]
        if not len(indices):
            assert point.sparse is None
            continue
        assert point.sparse is not None
        order = np.argsort(point.sparse.indices)
        np.testing.assert_array_equal(point.sparse.indices[order], indices)
        np.testing.assert_array_equal(point.sparse.values[order], values)


class TestWriting:
    def test_adding_embeds_both_in_one_pass(self, docs: Collection, asked: Asked) -> None:
        docs.add([Record(text=text) for text in ("one two", "two", "one two")])
        assert asked.passes == [(Role.PASSAGE, (Output.SPARSE,))]
        assert asked.texts == ["one two", "two"]
        assert len(points(docs)) == 3
        assert_as_embedded(docs)

    def test_indexing_embeds_both_in_one_pass(self, docs: Collection, asked: Asked) -> None:
        texts = ["\n\n".join(f"part {part} of text {n} here" for part in range(5)) for n in (1, 2)]
        report = docs.index(
            [Document(source=str(n), text=text) for n, text in enumerate(texts)], chunking=SMALL
        )
        assert report == IndexReport(added=2, embedded=10)
        assert asked.passes == [(Role.PASSAGE, (Output.SPARSE,))]
        assert len(points(docs)) == 10
        assert_as_embedded(docs)

    def test_a_moved_text_takes_both_vectors_with_it(self, docs: Collection, asked: Asked) -> None:
        text = "\n\n".join(f"part {part} of the text here" for part in range(5))
        docs.index([Document(source="old", text=text, root="r")], chunking=SMALL)
        asked.texts.clear()
        report = docs.index([Document(source="new", text=text, root="r")], chunking=SMALL)
        assert report == IndexReport(added=1, removed=1, reused=5, deleted=5)
        assert asked.texts == []
        assert {str(point.payload["source"]) for point in points(docs)} == {"new"}
        assert_as_embedded(docs)

    def test_dense_vectors_of_a_caller_come_without_sparse_ones(self, docs: Collection) -> None:
        dense = docs.encoder.encode(["a cat"], role=Role.PASSAGE).dense
        docs.add([Record(id="given", text="a cat")], vectors=dense)
        docs.add([Record(id="made", text="the cat sat")])
        assert [hit.id for hit in docs.search("a cat", mode=SearchMode.SPARSE)] == ["made"]
        assert {hit.id for hit in docs.search("a cat")} == {"given", "made"}
        assert docs.search("a cat", mode=SearchMode.DENSE, limit=1)[0].id == "given"

    def test_all_vectors_of_a_caller_are_stored(self, docs: Collection, asked: Asked) -> None:
        texts = ["a cat", "a dog", BLANK]
        vectors = asked.encode(texts, role=Role.PASSAGE, outputs=[Output.SPARSE])
        asked.passes.clear()
        docs.add([Record(text=text) for text in texts], vectors=vectors)
        assert asked.passes == []
        assert_as_embedded(docs)

    @pytest.mark.parametrize(
        ("indices", "values", "said"),
        [
            ([3, 4], [1, np.nan], r"record 'a'.*the value at index 4 is nan"),
            ([3, 3], [1, 1], r"record 'a'.*index 3 comes 2 times"),
        ],
    )
    def test_vectors_that_engines_would_take_in_silence_are_refused(
        self, docs: Collection, indices: list[int], values: list[float], said: str
    ) -> None:
        sparse = SparseVectors(
            starts=np.asarray([0, 2]),
            indices=np.asarray(indices),
            values=np.asarray(values, np.float32),
        )
        vectors = Vectors(dense=np.ones((1, 16), np.float32), sparse=sparse)
        with pytest.raises(StoreError, match=said):
            docs.add([Record(id="a", text="text")], vectors=vectors)
        assert docs.count() == 0

    def test_not_as_many_sparse_vectors_as_records_are_refused(self, docs: Collection) -> None:
        vectors = docs.encoder.encode(["a", "b"], role=Role.PASSAGE, outputs=[Output.SPARSE])
        with pytest.raises(StoreError, match="expected 1 sparse vectors, got 2"):
            docs.add([Record(text="a")], vectors=replace(vectors, dense=vectors.dense[:1]))

    def test_an_encoder_that_does_not_obey_is_refused(self, store: Store) -> None:
        collection = Collection.create(store, "docs", _Deaf(16, sparse=True))
        with pytest.raises(StoreError, match="gave no sparse vectors although"):
            collection.add([Record(text="a")])
        with pytest.raises(StoreError, match="gave no sparse vectors although"):
            collection.index([Document(source="a", text="a")])
        assert collection.count() == 0


class _Deaf(HashEncoder):
    """Gives dense vectors whatever it is asked for."""

    def stream(
        self, texts: Iterable[str], *, outputs: Any = (), **options: Any
    ) -> Iterator[Vectors]:
        yield from super().stream(texts, **options)

    def encode(self, texts: Iterable[str], *, outputs: Any = (), **options: Any) -> Vectors:
        return super().encode(texts, **options)


class TestSearching:
    @pytest.fixture
    def beasts(self, shared_beasts: Collection) -> Collection:
        return shared_beasts

    @pytest.fixture
    def asked(self, shared_beasts: Collection) -> Asked:
        encoder = shared_beasts.encoder
        assert isinstance(encoder, Asked)
        encoder.passes.clear()
        return encoder

    def test_hybrid_is_the_default_where_there_are_sparse_vectors(
        self, beasts: Collection, asked: Asked
    ) -> None:
        asked.passes.clear()
        default = beasts.search("a cat sat")
        assert asked.passes == [(Role.QUERY, (Output.SPARSE,))], "one pass"
        hybrid = beasts.search("a cat sat", mode=SearchMode.HYBRID)
        assert {hit.id: hit.score for hit in default} == {hit.id: hit.score for hit in hybrid}
        assert default[0].id == "cat"
        assert default == beasts.search("a cat sat", fusion=Fusion.dbsf())
        by_ranks = beasts.search("a cat sat", fusion=Fusion.rrf())
        assert by_ranks[0].score == pytest.approx(2 / 61)

    def test_each_mode_has_scores_of_its_own(self, beasts: Collection) -> None:
        dense = beasts.search("cat", mode=SearchMode.DENSE)
        assert dense[0].id == "cats"
        assert dense[0].score == pytest.approx(1, abs=1e-5)
        assert len(dense) == 4
        sparse = beasts.search("cat", mode=SearchMode.SPARSE)
        assert [hit.id for hit in sparse] == ["cats", "cat"], "the others share no word"
        weights = np.log1p(1) * np.log1p([3, 1])
        assert [hit.score for hit in sparse] == pytest.approx(weights, rel=1e-5)

    def test_hybrid_fuses_the_rankings_of_the_other_two(self, beasts: Collection) -> None:
        query = "a cat sat here"
        modes = (SearchMode.DENSE, SearchMode.SPARSE)
        expected: dict[str, float] = {}
        for mode in modes:
            for rank, hit in enumerate(beasts.search(query, mode=mode), start=1):
                expected[hit.id] = expected.get(hit.id, 0) + 1 / (60 + rank)
        hits = beasts.search(query, fusion=Fusion.rrf())
        assert {hit.id: hit.score for hit in hits} == pytest.approx(expected)
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)

    def test_filters_hold_in_every_mode(self, beasts: Collection) -> None:
        for mode in MODES:
            hits = beasts.search("a cat sat", mode=mode, where=Equals("letters", 11), limit=1)
            assert [hit.id for hit in hits] == ["cats"]

    def test_markers_are_never_seen(self, beasts: Collection) -> None:
        beasts.index([Document(source="doc", text="a cat")])
        assert len(beasts.search("a cat", limit=100)) == 5
        assert beasts.delete_source("doc") == 1

    def test_a_query_without_any_weight(self, beasts: Collection) -> None:
        assert beasts.search(BLANK, mode=SearchMode.SPARSE) == []
        dense = beasts.search(BLANK, mode=SearchMode.DENSE)
        hybrid = beasts.search(BLANK, fusion=Fusion.rrf())
        assert [hit.id for hit in hybrid] == [hit.id for hit in dense]
        ranks = [1 / 61, 1 / 62, 1 / 63, 1 / 64]
        assert [hit.score for hit in hybrid] == pytest.approx(ranks)

    def test_vectors_come_with_hits_of_every_mode(self, beasts: Collection) -> None:
        for mode in MODES:
            (hit,) = beasts.search("cat", mode=mode, limit=1, with_vectors=True)
            assert hit.vector is not None
            assert hit.vector.shape == (16,)

    def test_a_search_by_vector_is_dense(self, beasts: Collection) -> None:
        vector = beasts.encoder.encode(["cat"], role=Role.QUERY).dense[0]
        dense = beasts.search("cat", mode=SearchMode.DENSE)
        assert [hit.id for hit in beasts.search_vector(vector)] == [hit.id for hit in dense]

    def test_a_search_by_both_vectors_of_a_query_is_the_search_by_its_text(
        self, beasts: Collection, asked: Asked
    ) -> None:
        vectors = asked.encode(["a cat sat"], role=Role.QUERY, outputs=[Output.SPARSE])
        asked.passes.clear()
        for mode in (None, *MODES):
            by_text = beasts.search("a cat sat", mode=mode)
            by_vectors = beasts.search_vector(vectors, mode=mode)
            # Equal sums of ranks come in any order.
            scores = {hit.id: hit.score for hit in by_text}
            assert {hit.id: hit.score for hit in by_vectors} == pytest.approx(scores)
        assert len(asked.passes) == 4, "one for each search by text"

    def test_a_dense_vector_alone_cannot_be_searched_in_other_modes(
        self, beasts: Collection
    ) -> None:
        vector = beasts.encoder.encode(["cat"], role=Role.QUERY).dense[0]
        for mode in (SearchMode.SPARSE, SearchMode.HYBRID):
            with pytest.raises(StoreError, match="a dense vector alone was given"):
                beasts.search_vector(vector, mode=mode)

    def test_a_dense_search_does_not_ask_for_sparse_vectors(
        self, beasts: Collection, asked: Asked
    ) -> None:
        asked.passes.clear()
        beasts.search("cat", mode=SearchMode.DENSE)
        assert asked.passes == [(Role.QUERY, ())]

    @pytest.mark.parametrize("mode", [None, *MODES])
    def test_an_empty_query_is_refused(self, beasts: Collection, mode: SearchMode | None) -> None:
        with pytest.raises(TextError, match="text 0 is empty"):
            beasts.search("", mode=mode)

    async def test_the_coroutine_takes_a_mode(self, beasts: Collection) -> None:
        hits = await beasts.asearch("cat", mode=SearchMode.SPARSE)
        assert [hit.id for hit in hits] == ["cats", "cat"]


class TestWithoutSparse:
    def test_the_default_is_dense(self, years: Collection) -> None:
        assert not years.has_sparse
        assert not years.info().sparse
        default = years.search("the year 3")
        dense = years.search("the year 3", mode=SearchMode.DENSE)
        assert [hit.id for hit in default] == [hit.id for hit in dense]
        # Local mode rounds a little differently from one call to the next.
        assert [hit.score for hit in default] == pytest.approx([hit.score for hit in dense])

    @pytest.mark.parametrize("mode", [SearchMode.SPARSE, SearchMode.HYBRID])
    def test_what_it_cannot_do_is_refused(self, years: Collection, mode: SearchMode) -> None:
        with pytest.raises(StoreError, match=f"sparse vectors.*'{mode}'"):
            years.search("the year 3", mode=mode)

    def test_sparse_vectors_are_not_wanted(self, years: Collection) -> None:
        vectors = HashEncoder(16, sparse=True).encode(
            ["a"], role=Role.PASSAGE, outputs=[Output.SPARSE]
        )
        with pytest.raises(StoreError, match=r"dense ones alone; give vectors\.dense"):
            years.add([Record(text="a")], vectors=vectors)
        years.add([Record(text="a")], vectors=replace(vectors, sparse=None))
        assert years.count() == 11


class TestOpening:
    def test_it_is_known_again_when_it_is_opened(self, beasts: Collection) -> None:
        again = Collection.open(beasts.store, "docs", HashEncoder(16, sparse=True))
        assert again.has_sparse
        assert again.info().sparse
        assert [hit.id for hit in again.search("cat", mode=SearchMode.SPARSE)] == ["cats", "cat"]

    def test_an_encoder_with_and_one_without_a_sparse_head_do_not_mix(self, store: Store) -> None:
        Collection.create(store, "dense", HashEncoder(16))
        Collection.create(store, "both", HashEncoder(16, sparse=True))
        with pytest.raises(CollectionMismatch, match="sparse_head: None there"):
            Collection.open(store, "dense", HashEncoder(16, sparse=True))
        with pytest.raises(CollectionMismatch, match="None here"):
            Collection.open(store, "both", HashEncoder(16))

    def test_one_made_before_there_were_sparse_vectors_stays_dense(self, store: Store) -> None:
        encoder = HashEncoder(16, sparse=True)
        store.create(
            "old", replace(CollectionMetadata.of(encoder), sparse=False), CollectionSettings()
        )
        old = Collection.open(store, "old", encoder)
        assert not old.has_sparse
        old.add([Record(id="a", text="a cat")])
        old.index([Document(source="doc", text="a dog")])
        assert old.search("a cat", limit=1)[0].score == pytest.approx(1, abs=1e-5)
        with pytest.raises(StoreError, match="neither sparse vectors nor an index of words"):
            old.search("a cat", mode=SearchMode.HYBRID)

    def test_a_decant_that_knows_no_sparse_vectors_refuses_the_card(self) -> None:
        assert '"format": 2' in CollectionMetadata.of(HashEncoder(16, sparse=True)).to_json()
        dense = CollectionMetadata.of(HashEncoder(16)).to_json()
        assert '"format": 1' in dense
        assert "sparse" not in dense


def test_a_mode_may_be_given_by_its_name_and_no_other_is_one(tmp_path: Path) -> None:
    store = connect(tmp_path / "store")
    islands = Collection.create(store, "islands", HashEncoder(sparse=True))
    islands.add([Record(text="The ferry leaves at seven.")])
    for mode in MODES:
        named = islands.search("ferry", mode=str(mode))  # type: ignore[arg-type]
        assert named == islands.search("ferry", mode=mode)
    with pytest.raises(StoreError, match="no search mode is called 'fuzzy'; known are 'dense'"):
        islands.search("ferry", mode="fuzzy")  # type: ignore[arg-type]
