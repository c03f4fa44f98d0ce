"""Sparse embeddings for langchain-qdrant's own store: it finds with them what decant would."""

from __future__ import annotations

import math
import uuid

import pytest
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings
from qdrant_client import QdrantClient, models

from decant.embedders import HashEncoder, Output, RecipeError, Role, StoreError, TextError
from decant.integrations.langchain import (
    BM25SparseEmbeddings,
    DecantEmbeddings,
    DecantSparseEmbeddings,
)
from decant.integrations.qdrant import Words

TEXTS = ["error E1234 at the gate", "the ferry leaves at seven", "a gate is shut", "the the the"]


def stock_store(
    client: QdrantClient,
    sparse: SparseEmbeddings,
    *,
    mode: RetrievalMode,
    modifier: models.Modifier | None,
) -> QdrantVectorStore:
    """Return langchain-qdrant's own store over a collection that it did not make."""
    name = uuid.uuid4().hex
    client.create_collection(
        name,
        {"dense": models.VectorParams(size=16, distance=models.Distance.COSINE)},
        {"words": models.SparseVectorParams(modifier=modifier)},
    )
    store = QdrantVectorStore(
        client=client,
        collection_name=name,
        embedding=DecantEmbeddings(encoder=HashEncoder(16, sparse=True)),
        sparse_embedding=sparse,
        vector_name="dense",
        sparse_vector_name="words",
        retrieval_mode=mode,
    )
    store.add_texts(TEXTS)
    return store


@pytest.fixture
def client() -> QdrantClient:
    return QdrantClient(":memory:")


def test_documents_are_passages_and_queries_are_queries() -> None:
    encoder = HashEncoder(8, sparse=True)
    sparse = DecantSparseEmbeddings(encoder=encoder)
    for role, made in (
        (Role.PASSAGE, sparse.embed_documents(TEXTS)),
        (Role.QUERY, [sparse.embed_query(text) for text in TEXTS]),
    ):
        vectors = encoder.encode(TEXTS, role=role, outputs=[Output.SPARSE]).sparse
        assert vectors is not None
        assert [(one.indices, one.values) for one in made] == [
            (indices.tolist(), values.tolist()) for indices, values in vectors
        ]
    assert sparse.embed_documents([]) == []


async def test_the_coroutines_give_the_same() -> None:
    sparse = DecantSparseEmbeddings(encoder=HashEncoder(8, sparse=True))
    assert await sparse.aembed_documents(TEXTS) == sparse.embed_documents(TEXTS)
    assert await sparse.aembed_query("gate") == sparse.embed_query("gate")


def test_an_encoder_without_a_sparse_head_is_refused_and_the_words_named() -> None:
    with pytest.raises(RecipeError, match="BM25SparseEmbeddings"):
        DecantSparseEmbeddings(encoder=HashEncoder(8))


def test_an_empty_text_is_named_by_its_index() -> None:
    with pytest.raises(TextError, match="text 1"):
        DecantSparseEmbeddings(encoder=HashEncoder(8, sparse=True)).embed_documents(["a", ""])


@pytest.mark.parametrize("mode", [RetrievalMode.SPARSE, RetrievalMode.HYBRID])
def test_the_stock_store_finds_with_learned_weights(
    client: QdrantClient, mode: RetrievalMode
) -> None:
    sparse = DecantSparseEmbeddings(encoder=HashEncoder(16, sparse=True))
    store = stock_store(client, sparse, mode=mode, modifier=None)
    found = store.similarity_search_with_score("E1234", k=1)
    assert found[0][0].page_content == TEXTS[0]
    if mode is RetrievalMode.SPARSE:
        query = sparse.embed_query("E1234")
        stored = sparse.embed_documents(TEXTS)[0]
        weights = dict(zip(stored.indices, stored.values, strict=True))
        product = sum(
            value * weights.get(index, 0.0)
            for index, value in zip(query.indices, query.values, strict=True)
        )
        assert found[0][1] == pytest.approx(product, rel=1e-5)


def test_the_stock_store_scores_words_by_bm25(client: QdrantClient) -> None:
    """Against the formula, over the words as a reader counts them: stop words are left out."""
    kept = [["error", "e1234", "gate"], ["ferry", "leaves", "seven"], ["gate", "shut"]]
    average = sum(map(len, kept)) / len(kept)
    bm25 = BM25SparseEmbeddings.measured(TEXTS, words=Words(language="english"))
    assert bm25.average_length == pytest.approx(average)
    store = stock_store(client, bm25, mode=RetrievalMode.SPARSE, modifier=models.Modifier.IDF)
    hits = store.similarity_search_with_score("which gate, error E1234?", k=4)
    found = {document.page_content: score for document, score in hits}
    wanted = {}
    for text, tokens in zip(TEXTS, kept, strict=False):
        score = 0.0
        for word in ("gate", "error", "e1234"):
            holders = sum(word in others for others in kept)
            idf = math.log(1 + (len(TEXTS) - holders + 0.5) / (holders + 0.5))
            count = tokens.count(word)
            score += idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(tokens) / average))
        if score:
            wanted[text] = score
    assert found == {text: pytest.approx(score, rel=1e-4) for text, score in wanted.items()}


def test_the_stock_store_searches_hybrid_with_words(client: QdrantClient) -> None:
    bm25 = BM25SparseEmbeddings.measured(TEXTS)
    store = stock_store(client, bm25, mode=RetrievalMode.HYBRID, modifier=models.Modifier.IDF)
    assert store.similarity_search("E1234", k=1)[0].page_content == TEXTS[0]


def test_texts_without_words_have_empty_vectors() -> None:
    bm25 = BM25SparseEmbeddings(average_length=3)
    assert bm25.embed_query("the").indices == bm25.embed_documents(["", "of"])[0].values == []


@pytest.mark.parametrize("length", [0, -1, math.nan, math.inf])
def test_an_average_length_is_above_zero(length: float) -> None:
    with pytest.raises(StoreError, match="above 0"):
        BM25SparseEmbeddings(average_length=length)


def test_a_length_is_measured_on_texts_with_words() -> None:
    with pytest.raises(StoreError, match="none of the texts"):
        BM25SparseEmbeddings.measured(["", "the"])
    with pytest.raises(TypeError, match="one string"):
        BM25SparseEmbeddings.measured("the ferry")


def test_both_say_what_they_are() -> None:
    sparse = DecantSparseEmbeddings(encoder=HashEncoder(8, sparse=True))
    assert repr(sparse).startswith("DecantSparseEmbeddings('hash'")
    assert "average_length=3" in repr(BM25SparseEmbeddings(average_length=3))
