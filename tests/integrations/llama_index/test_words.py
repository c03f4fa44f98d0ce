"""LlamaIndex's store over a collection that indexes words: its own modes, and alpha."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from decant.embedders import HashEncoder
from decant.integrations.llama_index import DecantEmbedding, DecantVectorStore
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Fusion,
    Record,
    SearchMode,
    Store,
    Words,
)
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


def test_all_the_weight_on_vectors_is_the_search_by_them_to_any_depth(store: Store) -> None:
    encoder = HashEncoder(16)
    made = Collection.create(
        store, "many", encoder, settings=CollectionSettings(words=Words(language=None))
    )
    # Words find the last of the dense ranking alone, which has three times the fusion's depth.
    vectors = np.zeros((300, 16), np.float32)
    vectors[:, 0], vectors[:, 1] = 1, np.linspace(0, 2, 300)
    texts = [f"passage {n}" if n < 290 else f"ferry {n}" for n in range(300)]
    made.add([Record(id=f"{n}", text=text) for n, text in enumerate(texts)], vectors=vectors)
    query = VectorStoreQuery(
        query_str="ferry",
        query_embedding=[1.0, *[0.0] * 15],
        mode=VectorStoreQueryMode.HYBRID,
        similarity_top_k=250,
        alpha=1.0,
    )
    many = DecantVectorStore(made)
    by_hybrid = many.query(query)
    assert by_hybrid.ids == [f"{n}" for n in range(250)]
    dense = VectorStoreQuery(query_embedding=query.query_embedding, similarity_top_k=250)
    assert by_hybrid.ids == many.query(dense, mode=SearchMode.DENSE).ids
    query.similarity_top_k = 120
    best = [f"{n}" for n in range(120)]
    assert many.query(query).ids == best
    query.sparse_top_k, query.hybrid_top_k = 5, 200
    assert many.query(query).ids == best, "so many vectors, and no words"


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
