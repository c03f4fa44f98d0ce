"""LlamaIndex's store over a collection that indexes words: its own modes, and alpha."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from decant.integrations.llama_index import DecantEmbedding, DecantVectorStore
from decant.integrations.qdrant import Fusion, SearchMode, Store
from word_notes import QUERY, counted_encodes, word_notes


@pytest.fixture
def notes(store: Store) -> DecantVectorStore:
    """Return a store of three texts, one of which holds the query's code."""
    return DecantVectorStore(word_notes(store))


def retrieved(notes: DecantVectorStore, **options: Any) -> list[str]:
    """Return the ids that an index over the store gives, which embeds the query itself."""
    embedding = DecantEmbedding(encoder=notes.collection.encoder)
    index = VectorStoreIndex.from_vector_store(notes, embed_model=embedding)
    found = index.as_retriever(similarity_top_k=3, **options).retrieve(QUERY)
    return [one.node.node_id for one in found]


def ranked(notes: DecantVectorStore, **options: Any) -> list[str]:
    return [hit.id for hit in notes.collection.search(QUERY, limit=3, **options)]


def test_the_default_is_hybrid(notes: DecantVectorStore) -> None:
    assert retrieved(notes) == ranked(notes) == ranked(notes, mode=SearchMode.HYBRID)


def test_text_search_is_the_search_by_words(notes: DecantVectorStore) -> None:
    found = retrieved(notes, vector_store_query_mode="text_search")
    assert found == ranked(notes, mode=SearchMode.WORDS)
    assert set(found) == {"code", "mean"}


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_alpha_weighs_vectors_against_words(notes: DecantVectorStore, alpha: float) -> None:
    fusion = Fusion.dbsf(weights={"dense": alpha, "words": 1 - alpha})
    found = retrieved(notes, vector_store_query_mode="hybrid", alpha=alpha)
    assert found == ranked(notes, fusion=fusion)


def test_a_query_is_embedded_once(
    notes: DecantVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted_encodes(monkeypatch)
    retrieved(notes)
    assert len(calls) == 1


def test_words_need_the_text_of_the_query(notes: DecantVectorStore) -> None:
    vector = notes.collection.encoder.dim * [0.1]
    query = VectorStoreQuery(query_embedding=vector, mode=VectorStoreQueryMode.TEXT_SEARCH)
    with pytest.raises(ValueError, match="only query_embedding"):
        notes.query(query)
