"""Writing without the model: the server stores what the model would have made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from decant.embedders import HashEncoder, Role, StoreError, TextError
from decant.integrations.qdrant import (
    Chunking,
    Collection,
    Document,
    Filling,
    Point,
    Record,
    Select,
    ServerInference,
    Store,
)
from decant.integrations.qdrant.points.payloads import DOCUMENTS, PASSAGES
from decant.integrations.qdrant.stores.protocol import each

LONG = "one two three four five six seven " * 40
SENTENCES = [f"The ferry number {number} leaves at seven." for number in range(55)]
DOCUMENTS_GIVEN = [
    Document(source="a.md", text="# Boats\n\n" + " ".join(SENTENCES[:30]), root="r"),
    Document(source="b.txt", text=" ".join(SENTENCES[30:]), root="r"),
]


@pytest.fixture
def unmodelled(store: Store, empty: Collection) -> Collection:
    """Return the empty collection, opened without its model."""
    return Collection.open(store, empty.name, ServerInference("minilm"))


def held(store: Store) -> dict[str, Point]:
    select = Select(dense=True, sparse=True)
    return {
        str(point.payload["text"]): point
        for page in each(store, "docs", PASSAGES, select)
        for point in page
    }


def check_vectors(store: Store, model: HashEncoder) -> None:
    """Compare every stored vector with the model's own."""
    points = held(store)
    assert points
    for text, point in points.items():
        vectors = model.encode([text], role=Role.PASSAGE, outputs=["sparse"])  # type: ignore[list-item]
        assert point.dense is not None
        assert point.sparse is not None
        assert vectors.sparse is not None
        np.testing.assert_allclose(point.dense, vectors.dense[0], atol=1e-6)
        indices, values = vectors.sparse[0]
        np.testing.assert_array_equal(point.sparse.indices, indices)
        np.testing.assert_allclose(point.sparse.values, values, atol=1e-6)


def test_stored_vectors_are_those_of_the_model_also_of_texts_that_are_cut(
    unmodelled: Collection, store: Store, model: HashEncoder
) -> None:
    texts = ["the ferry leaves", "the ferry leaves", LONG, "{braces} and — dashes"]
    ids = unmodelled.add([Record(text=text) for text in texts])
    assert len(ids) == unmodelled.count() == 4
    check_vectors(store, model)
    assert unmodelled.info().filled_by == (
        Filling(precision="fp32", provider="the server's inference service"),
    )


def test_a_blank_text_is_stored_without_a_vector(unmodelled: Collection, store: Store) -> None:
    unmodelled.add([Record(text=" \n"), Record(text="\u200b"), Record(text="words")])
    assert [text for text, point in held(store).items() if point.dense is not None] == ["words"]


def test_texts_may_stand_for_the_records_own(
    unmodelled: Collection, store: Store, model: HashEncoder
) -> None:
    unmodelled.add([Record(id="1", text="body")], texts=["title body"])
    expected = model.encode(["title body"], role=Role.PASSAGE).dense[0]
    np.testing.assert_allclose(held(store)["body"].dense, expected, atol=1e-6)  # type: ignore[arg-type]
    with pytest.raises(TextError, match="1 texts, got 2"):
        unmodelled.add([Record(text="body")], texts=["one", "two"])


def test_indexing_with_a_tokenizer_is_indexing_with_the_model(
    store: Store, empty: Collection, model: HashEncoder
) -> None:
    inference = ServerInference("minilm", tokenizer=model.tokenizer)
    remote = Collection.open(store, empty.name, inference)
    report = remote.index(DOCUMENTS_GIVEN, chunking=Chunking(max_tokens=20, overlap=4))
    assert report.added == 2
    assert report.embedded > 10
    check_vectors(store, model)
    again = empty.index(DOCUMENTS_GIVEN, chunking=Chunking(max_tokens=20, overlap=4))
    assert (again.unchanged, again.embedded) == (2, 0)
    assert empty.check().findings == ()


def test_indexing_without_a_tokenizer_cuts_by_four_characters_for_each_token(
    unmodelled: Collection, store: Store, model: HashEncoder
) -> None:
    report = unmodelled.index(DOCUMENTS_GIVEN, chunking=Chunking(max_tokens=20))
    assert report.added == 2
    lengths = [len(text) for text in held(store)]
    assert 40 < max(lengths) <= 80
    check_vectors(store, model)
    again = unmodelled.index(DOCUMENTS_GIVEN, chunking=Chunking(max_tokens=20))
    assert (again.unchanged, again.embedded) == (2, 0)


def test_characters_overlap_as_they_are_counted(unmodelled: Collection) -> None:
    chunking = Chunking(max_tokens=20, overlap=5, max_characters=20)
    with pytest.raises(TextError, match="20 characters cannot overlap by 20"):
        unmodelled.index(DOCUMENTS_GIVEN, chunking=chunking)


def test_what_is_stored_already_is_not_embedded_again(
    unmodelled: Collection, filled: Collection
) -> None:
    unmodelled.index(DOCUMENTS_GIVEN)
    moved = [Document(source="new.md", text=DOCUMENTS_GIVEN[0].text, root="other")]
    report = unmodelled.index(moved)
    assert report.embedded == 0
    assert report.reused > 0
    assert filled.count() > len(moved)


def test_a_collection_with_soft_tokens_is_not_written_to(
    unmodelled: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unmodelled.encoder, "_kept", ["soft tokens"])
    with pytest.raises(StoreError, match="soft tokens, which an inference service does not give"):
        unmodelled.add([Record(text="a")])


def test_documents_of_a_stream_are_embedded_as_they_come(
    unmodelled: Collection, store: Store, model: HashEncoder
) -> None:
    def documents() -> Iterator[Document]:
        for number in range(150):
            yield Document(source=f"{number}.txt", text=f"number {number} of many documents")

    assert unmodelled.index(documents()).embedded == 150
    assert store.count("docs", DOCUMENTS) == 150
    check_vectors(store, model)
