"""LangChain's store over a collection with sparse vectors: modes, and cosines where due."""

from __future__ import annotations

import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.langchain import DecantVectorStore
from decant.integrations.qdrant import Collection, SearchMode, Store


@pytest.fixture
def beasts(store: Store) -> DecantVectorStore:
    if "beasts" in store.names():
        store.drop("beasts")
    collection = Collection.create(store, "beasts", HashEncoder(64, sparse=True))
    made = DecantVectorStore(collection)
    made.add_texts(["cat cat cat", "a cat sat", "rain"], ids=["cats", "cat", "rain"])
    return made


def test_a_retriever_searches_by_both_vectors_unless_told_otherwise(
    beasts: DecantVectorStore,
) -> None:
    assert len(beasts.as_retriever().invoke("cat")) == 3
    sparse = beasts.as_retriever(search_kwargs={"mode": SearchMode.SPARSE})
    assert [document.id for document in sparse.invoke("cat")] == ["cats", "cat"]


def test_relevance_is_made_of_cosines(beasts: DecantVectorStore) -> None:
    (document, score), *_ = beasts.similarity_search_with_relevance_scores("cat", k=3)
    assert document.id == "cats"
    assert score == pytest.approx(1, abs=1e-5)


def test_a_mode_that_the_collection_has_not_is_refused(store: Store) -> None:
    if "dense" in store.names():
        store.drop("dense")
    dense = DecantVectorStore(Collection.create(store, "dense", HashEncoder(8)))
    with pytest.raises(StoreError, match="no sparse vectors"):
        dense.similarity_search("cat", mode=SearchMode.HYBRID)
