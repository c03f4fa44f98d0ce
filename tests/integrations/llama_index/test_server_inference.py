"""LlamaIndex's classes over a collection whose server has texts embedded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from decant.embedders import HashEncoder, Role, StoreError
from decant.integrations.llama_index import DecantEmbedding, DecantVectorStore
from decant.integrations.qdrant import SearchMode
from served_inference import serve_collection

TEXTS = ["the ferry leaves at seven", "rain falls on the pier", "bread rises", "a cat sat"]
QUERY = "when does the ferry leave the pier"
MODES = [
    VectorStoreQueryMode.DEFAULT,
    VectorStoreQueryMode.HYBRID,
    VectorStoreQueryMode.SPARSE,
    VectorStoreQueryMode.TEXT_SEARCH,
    VectorStoreQueryMode.MMR,
]
Stores = tuple[DecantVectorStore, DecantVectorStore]


@pytest.fixture(scope="module")
def encoder() -> HashEncoder:
    return HashEncoder(16, sparse=True)


@pytest.fixture(scope="module")
def stores(encoder: HashEncoder) -> Iterator[Stores]:
    """Return stores over one collection, with its model and without, filled without."""
    with serve_collection(encoder) as (held, remote):
        without = DecantVectorStore(remote)
        nodes = [
            TextNode(id_=str(number), text=text, metadata={"title": f"title {number}"})
            for number, text in enumerate(TEXTS)
        ]
        without.add([*nodes, TextNode(id_="blank", text=" ")])
        yield DecantVectorStore(held), without


def test_nodes_are_embedded_with_the_text_that_they_show(
    stores: Stores, encoder: HashEncoder
) -> None:
    held, _ = stores
    (found,) = held.collection.get(["0"], with_vectors=True)
    assert found.vector is not None
    expected = encoder.encode([f"title: title 0\n\n{TEXTS[0]}"], role=Role.PASSAGE).dense[0]
    np.testing.assert_allclose(found.vector, expected, atol=1e-6)
    (blank,) = held.collection.get(["blank"], with_vectors=True)
    assert blank.vector is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("depth", [None, 3])
def test_queries_find_what_they_find_with_the_model(
    stores: Stores, mode: VectorStoreQueryMode, depth: int | None
) -> None:
    held, without = stores
    query = VectorStoreQuery(
        query_str=QUERY, mode=mode, similarity_top_k=3, sparse_top_k=depth, alpha=0.5
    )
    found, expected = without.query(query), held.query(query)
    assert expected.ids
    assert found.ids == expected.ids
    assert found.similarities == pytest.approx(expected.similarities, abs=1e-5)


def test_a_dense_embedding_from_elsewhere_is_searched_with(
    stores: Stores, encoder: HashEncoder
) -> None:
    _, without = stores
    embedding = encoder.encode([QUERY], role=Role.QUERY).dense[0].tolist()
    query = VectorStoreQuery(query_embedding=embedding, query_str=QUERY, similarity_top_k=2)
    assert len(without.query(query).ids or []) == 2
    dense = without.query(query, mode=SearchMode.DENSE)
    assert dense.similarities == pytest.approx(
        [hit.score for hit in without.collection.search(QUERY, limit=2, mode=SearchMode.DENSE)],
        abs=1e-5,
    )


def test_an_index_over_the_store_retrieves_without_the_model(stores: Stores) -> None:
    held, without = stores
    embedding = DecantEmbedding(encoder=without.collection.encoder)
    index = VectorStoreIndex.from_vector_store(without, embed_model=embedding)
    found = index.as_retriever(similarity_top_k=2).retrieve(QUERY)
    expected = held.collection.search(QUERY, limit=2)
    assert [one.node.node_id for one in found] == [hit.id for hit in expected]


def test_what_must_return_numbers_says_that_it_cannot(stores: Stores) -> None:
    _, without = stores
    embedding = DecantEmbedding(encoder=without.collection.encoder)
    for work in (
        lambda: embedding.get_query_embedding(QUERY),
        lambda: embedding.get_text_embedding(QUERY),
        lambda: embedding.get_text_embedding_batch([QUERY, " "]),
    ):
        with pytest.raises(StoreError, match=r"model is not on this machine.*no vector comes back"):
            work()
    with pytest.raises(StoreError, match="node 'x' has an embedding, and the Qdrant server makes"):
        without.add([TextNode(id_="x", text="a", embedding=[0.1] * 16)])
