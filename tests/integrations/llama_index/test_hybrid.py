"""LlamaIndex's store over a collection with sparse vectors ranks as the collection does."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import QueryBundle
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from decant.embedders import HashEncoder, Role, StoreError
from decant.integrations.llama_index import DecantEmbedding, DecantVectorStore
from decant.integrations.qdrant import Collection, Record, SearchMode, Store

QUERY = "cat"
MODES = [None, SearchMode.DENSE, SearchMode.SPARSE, SearchMode.HYBRID]


@pytest.fixture
def beasts(store: Store) -> DecantVectorStore:
    """Return a store whose dense ranking begins with a text that shares no word with the query."""
    if "beasts" in store.names():
        store.drop("beasts")
    encoder = HashEncoder(64, sparse=True)
    collection = Collection.create(store, "beasts", encoder)
    texts = {"rain": "rain", "cats": "cat cat cat", "cat": "a cat sat", "dog": "a dog sat here"}
    vectors = encoder.encode(
        list(texts.values()), role=Role.PASSAGE, outputs=collection._target.searched
    )
    swapped = type(vectors)(dense=vectors.dense[[1, 0, 2, 3]], sparse=vectors.sparse)
    collection.add([Record(id=id_, text=text) for id_, text in texts.items()], vectors=swapped)
    return DecantVectorStore(collection)


def embedded(beasts: DecantVectorStore, text: str = QUERY) -> list[float]:
    vector: list[float] = (
        beasts.collection.encoder.encode([text], role=Role.QUERY).dense[0].tolist()
    )
    return vector


def retrieved(beasts: DecantVectorStore, **options: Any) -> list[str]:
    """Return the ids that an index over the store gives, which embeds the query itself."""
    index = VectorStoreIndex.from_vector_store(
        beasts, embed_model=DecantEmbedding(encoder=beasts.collection.encoder)
    )
    retriever = index.as_retriever(similarity_top_k=3, **options)
    return [found.node.node_id for found in retriever.retrieve(QUERY)]


@pytest.mark.parametrize("mode", MODES)
def test_a_query_ranks_as_the_collection_does(
    beasts: DecantVectorStore, mode: SearchMode | None
) -> None:
    hits = beasts.collection.search(QUERY, limit=3, mode=mode)
    wanted = [hit.id for hit in hits]
    query = VectorStoreQuery(query_str=QUERY, similarity_top_k=3)
    found = beasts.query(query, mode=mode)
    assert found.ids == wanted
    assert found.similarities == pytest.approx([hit.score for hit in hits])
    both = VectorStoreQuery(query_str=QUERY, query_embedding=embedded(beasts), similarity_top_k=3)
    assert beasts.query(both, mode=mode).ids == wanted
    assert retrieved(beasts, vector_store_kwargs={"mode": mode}) == wanted


def test_the_default_is_hybrid_and_not_dense(beasts: DecantVectorStore) -> None:
    hybrid = [hit.id for hit in beasts.collection.search(QUERY, limit=3)]
    dense = [hit.id for hit in beasts.collection.search(QUERY, limit=3, mode=SearchMode.DENSE)]
    assert retrieved(beasts) == hybrid != dense


async def test_the_coroutine_ranks_alike(beasts: DecantVectorStore) -> None:
    query = VectorStoreQuery(query_str=QUERY, similarity_top_k=3)
    for mode in MODES:
        wanted = [hit.id for hit in beasts.collection.search(QUERY, limit=3, mode=mode)]
        assert (await beasts.aquery(query, mode=mode)).ids == wanted


@pytest.mark.parametrize("mode", [SearchMode.SPARSE, SearchMode.HYBRID])
def test_llama_indexs_own_modes_are_those_of_the_collection(
    beasts: DecantVectorStore, mode: SearchMode
) -> None:
    wanted = [hit.id for hit in beasts.collection.search(QUERY, limit=3, mode=mode)]
    assert retrieved(beasts, vector_store_query_mode=mode.value) == wanted


def test_the_dense_vector_is_the_querys_and_the_sparse_one_its_texts(
    beasts: DecantVectorStore,
) -> None:
    """An index may embed another text than the question, such as an answer made up (HyDE)."""
    dense = embedded(beasts, "a dog sat here")
    query = VectorStoreQuery(query_str="rain", query_embedding=dense, similarity_top_k=2)
    assert set(beasts.query(query).ids or []) == {"dog", "rain"}


def test_an_embedding_without_a_text_is_searched_by_dense_vectors(
    beasts: DecantVectorStore,
) -> None:
    query = VectorStoreQuery(query_embedding=embedded(beasts), similarity_top_k=3)
    dense = [hit.id for hit in beasts.collection.search(QUERY, limit=3, mode=SearchMode.DENSE)]
    assert beasts.query(query).ids == dense
    query.mode = VectorStoreQueryMode.HYBRID
    with pytest.raises(ValueError, match="only query_embedding"):
        beasts.query(query)


def test_each_mode_counts_by_its_own_number(beasts: DecantVectorStore) -> None:
    for mode, count in (("hybrid", {"hybrid_top_k": 1}), ("sparse", {"sparse_top_k": 1})):
        assert len(retrieved(beasts, vector_store_query_mode=mode, **count)) == 1


def test_maximal_marginal_relevance_compares_dense_vectors(beasts: DecantVectorStore) -> None:
    query = VectorStoreQuery(
        query_str=QUERY, similarity_top_k=3, mode=VectorStoreQueryMode.MMR, mmr_threshold=1.0
    )
    dense = [hit.id for hit in beasts.collection.search(QUERY, limit=3, mode=SearchMode.DENSE)]
    assert beasts.query(query).ids == dense


@pytest.mark.parametrize(
    ("fields", "mode", "said"),
    [
        ({"mode": VectorStoreQueryMode.HYBRID, "alpha": 1.5}, None, "alpha is from 0"),
        ({"mode": VectorStoreQueryMode.SPARSE}, SearchMode.DENSE, "give one"),
        ({"mode": VectorStoreQueryMode.MMR}, SearchMode.HYBRID, "give one"),
        ({"mode": VectorStoreQueryMode.SEMANTIC_HYBRID}, None, "no counterpart"),
    ],
)
def test_what_has_no_counterpart_is_refused(
    beasts: DecantVectorStore, fields: dict[str, Any], mode: SearchMode | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        beasts.query(VectorStoreQuery(query_str=QUERY, **fields), mode=mode)


def test_a_mode_that_the_collection_has_not_is_refused(collection: Collection) -> None:
    store = DecantVectorStore(collection)
    with pytest.raises(StoreError, match="no sparse vectors"):
        store.query(VectorStoreQuery(query_str=QUERY), mode=SearchMode.SPARSE)
    with pytest.raises(StoreError, match="neither sparse vectors nor an index of words"):
        store.query(VectorStoreQuery(query_str=QUERY, mode=VectorStoreQueryMode.HYBRID))


def test_a_bundle_of_a_query_with_its_own_embedding_is_taken(beasts: DecantVectorStore) -> None:
    index = VectorStoreIndex.from_vector_store(
        beasts, embed_model=DecantEmbedding(encoder=beasts.collection.encoder)
    )
    bundle = QueryBundle(query_str="rain", embedding=embedded(beasts, "a dog sat here"))
    found = index.as_retriever(similarity_top_k=2).retrieve(bundle)
    assert {one.node.node_id for one in found} == {"dog", "rain"}
