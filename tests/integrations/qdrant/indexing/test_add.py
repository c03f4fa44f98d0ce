"""Records are added and deleted, to the letter and by any id; the same on both engines."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qdrant_client import models

from decant.embedders import (
    HashEncoder,
    Role,
    StoreError,
    TextError,
    Vectors,
)
from decant.integrations.qdrant import (
    Collection,
    Document,
    Range,
    Record,
    Store,
)
from decant.integrations.qdrant.points.golden import GOLDEN_TEXT

UUID = "0cc9c443-99a3-40c0-935c-dbf0a805af77"  # drawn once: test runners compare names


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

    @pytest.mark.parametrize("identity", ["1", "a/b c", "ä", UUID, "x" * 3_000])
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

    def test_an_encoder_that_gives_nan_is_caught_and_the_record_named(self, store: Store) -> None:
        collection = Collection.create(store, "docs", _NanEncoder(16))
        with pytest.raises(StoreError, match="record 1 of the call is not finite"):
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
        assert [text for text in encoder.texts if text != GOLDEN_TEXT] == ["same"]
        assert collection.count() == 50

    def test_a_marker_cannot_be_overwritten(self, collection: Collection) -> None:
        document = Document(source="a", text="one")
        collection.index([document])
        with pytest.raises(StoreError, match="belongs to decant itself"):
            collection.add([Record(id=document.key.marker_id, text="x")])


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


class _Counting(HashEncoder):
    """Remembers what it embedded."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.texts: list[str] = []

    def encode(self, texts: Iterable[str], *, role: Role, **options: Any) -> Vectors:
        held = list(texts)
        self.texts += held
        return super().encode(held, role=role, **options)


class _NanEncoder(HashEncoder):
    """Gives NaN for poisoned texts, as a half-precision model may."""

    def _states(self, words: list[str]) -> NDArray[np.float32]:
        states = super()._states(words)
        return states * np.float32("nan") if "poisoned" in words else states
