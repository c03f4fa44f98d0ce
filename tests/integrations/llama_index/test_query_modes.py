"""Each query mode of LlamaIndex: its depths and counts, its embeddings, and what it may ask for."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from decant.embedders import HashEncoder, Role
from decant.integrations.llama_index import DecantEmbedding, DecantVectorStore
from decant.integrations.qdrant import (
    MMR,
    Boost,
    Collection,
    CollectionSettings,
    Fusion,
    Group,
    Record,
    SearchMode,
    SearchOptions,
    Store,
    Words,
)
from decant.integrations.qdrant.searching.fusion import fuse
from word_notes import counted_encodes

QUERY = "what do cats do"
TEXTS = ["a cat sat", "cats sleep", "cats run far away", "rain fell", "a dog sat", "what is rain"]


@pytest.fixture(params=[False, True], ids=["words", "words and sparse"])
def beasts(store: Store, request: pytest.FixtureRequest) -> DecantVectorStore:
    """Return a store of two or of all three rankings."""
    if "beasts" in store.names():
        store.drop("beasts")
    encoder = HashEncoder(64, sparse=request.param)
    settings = CollectionSettings(words=Words())
    made = Collection.create(store, "beasts", encoder, settings=settings)
    made.add(
        [
            Record(id=str(number), text=text, source="ab"[number % 2], metadata={"number": number})
            for number, text in enumerate(TEXTS)
        ]
    )
    return DecantVectorStore(made)


def embedded(beasts: DecantVectorStore) -> list[float]:
    vector: list[float] = (
        beasts.collection.encoder.encode([QUERY], role=Role.QUERY).dense[0].tolist()
    )
    return vector


def rankings(beasts: DecantVectorStore, dense: int, others: int) -> dict[str, Any]:
    """Return the ids and scores of each ranking to its depth."""
    modes = [SearchMode.DENSE, SearchMode.WORDS]
    modes += [SearchMode.SPARSE] if beasts.collection.has_sparse else []
    return {
        mode.value: [
            (hit.id, hit.score)
            for hit in beasts.collection.search(
                QUERY, limit=dense if mode is SearchMode.DENSE else others, mode=mode
            )
        ]
        for mode in modes
    }


@pytest.mark.parametrize("alpha", [None, 0.3])
@pytest.mark.parametrize(("dense", "others"), [(1, 1), (1, 2), (3, 1), (6, 6)])
def test_a_hybrid_query_ranks_to_the_depths_that_it_sets(
    beasts: DecantVectorStore, dense: int, others: int, alpha: float | None
) -> None:
    query = VectorStoreQuery(
        query_str=QUERY,
        query_embedding=embedded(beasts),
        mode=VectorStoreQueryMode.HYBRID,
        similarity_top_k=dense,
        sparse_top_k=others,
        hybrid_top_k=9,
        alpha=alpha,
    )
    weights = {} if alpha is None else {"dense": alpha, "words": 1 - alpha, "sparse": 1 - alpha}
    if not beasts.collection.has_sparse:
        weights.pop("sparse", None)
    held = rankings(beasts, dense, others)
    ended = {name for name in held if name != "dense" and len(held[name]) < others}
    wanted = fuse(held, Fusion.dbsf(weights=weights), ended=ended)
    found = beasts.query(query)
    assert found.ids == [identity for identity, _ in wanted]
    assert found.similarities == pytest.approx([score for _, score in wanted])


def test_hybrid_top_k_counts_what_was_fused(beasts: DecantVectorStore) -> None:
    query = VectorStoreQuery(
        query_str=QUERY, mode=VectorStoreQueryMode.HYBRID, similarity_top_k=4, sparse_top_k=4
    )
    whole = beasts.query(query).ids or []
    assert len(whole) == 4
    query.hybrid_top_k = 2
    assert beasts.query(query).ids == whole[:2]


def test_without_depths_a_hybrid_query_is_the_collections(beasts: DecantVectorStore) -> None:
    query = VectorStoreQuery(
        query_str=QUERY, mode=VectorStoreQueryMode.HYBRID, similarity_top_k=1, hybrid_top_k=4
    )
    assert beasts.query(query).ids == [hit.id for hit in beasts.collection.search(QUERY, limit=4)]


@pytest.mark.parametrize("mode", ["sparse", "text_search"])
def test_sparse_top_k_counts_the_modes_without_dense_vectors(
    beasts: DecantVectorStore, mode: str
) -> None:
    if mode == "sparse" and not beasts.collection.has_sparse:
        pytest.skip("there are no sparse vectors")
    query = VectorStoreQuery(query_str=QUERY, mode=VectorStoreQueryMode(mode), sparse_top_k=2)
    assert len(beasts.query(query).ids or []) == 2
    query.sparse_top_k = None
    assert len(beasts.query(query).ids or []) == query.similarity_top_k == 1


# What is embedded: LlamaIndex's retriever embeds a query itself, but for words and sparse vectors.
COUNTS = {
    "default": (1, 2),  # an index embeds the dense vector before the store sees the text
    "hybrid": (1, 2),
    "mmr": (1, 1),
    "sparse": (None, 1),
    "text_search": (0, 0),
}


@pytest.mark.parametrize("mode", COUNTS)
def test_a_query_through_an_index_is_embedded_as_often_as_is_stated(
    beasts: DecantVectorStore, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = COUNTS[mode][beasts.collection.has_sparse]
    if wanted is None:
        pytest.skip("there are no sparse vectors")
    index = VectorStoreIndex.from_vector_store(
        beasts, embed_model=DecantEmbedding(encoder=beasts.collection.encoder)
    )
    retriever = index.as_retriever(vector_store_query_mode=mode, similarity_top_k=2)
    calls = counted_encodes(monkeypatch)
    assert len(retriever.retrieve(QUERY)) == 2
    assert len(calls) == wanted


@pytest.mark.parametrize("depths", [{}, {"sparse_top_k": 3}], ids=["one depth", "depths"])
@pytest.mark.parametrize("mode", COUNTS)
def test_a_query_with_its_text_alone_is_embedded_once_at_most(
    beasts: DecantVectorStore,
    mode: str,
    depths: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if mode == "sparse" and not beasts.collection.has_sparse:
        pytest.skip("there are no sparse vectors")
    query = VectorStoreQuery(query_str=QUERY, mode=VectorStoreQueryMode(mode), **depths)
    calls = counted_encodes(monkeypatch)
    beasts.query(query)
    assert len(calls) == (0 if mode == "text_search" else 1)


@pytest.mark.parametrize(
    "options",
    [
        SearchOptions(group=Group()),
        SearchOptions(boosts=[Boost("number", weight=9.0)]),
        SearchOptions(exact=True),
        SearchOptions(mmr=MMR(balance=0.1)),
    ],
    ids=str,
)
def test_options_are_those_of_the_collection(
    beasts: DecantVectorStore, options: SearchOptions
) -> None:
    hits = beasts.collection.search(QUERY, limit=3, options=options)
    query = VectorStoreQuery(query_str=QUERY, similarity_top_k=3)
    assert beasts.query(query, options=options).ids == [hit.id for hit in hits]
    index = VectorStoreIndex.from_vector_store(
        beasts, embed_model=DecantEmbedding(encoder=beasts.collection.encoder)
    )
    kwargs = {"options": options}
    retriever = index.as_retriever(similarity_top_k=3, vector_store_kwargs=kwargs)
    assert [one.node.node_id for one in retriever.retrieve(QUERY)] == [hit.id for hit in hits]


async def test_the_coroutine_takes_options(beasts: DecantVectorStore) -> None:
    query = VectorStoreQuery(query_str=QUERY, similarity_top_k=6)
    options = SearchOptions(group=Group())
    found = await beasts.aquery(query, options=options)
    assert found.ids == beasts.query(query, options=options).ids
    assert len(found.ids or []) == 2


def test_words_take_options(beasts: DecantVectorStore) -> None:
    query = VectorStoreQuery(
        query_str=QUERY, mode=VectorStoreQueryMode.TEXT_SEARCH, similarity_top_k=6
    )
    options = SearchOptions(boosts=[Boost("number", weight=99.0)])
    hits = beasts.collection.search(QUERY, limit=6, mode=SearchMode.WORDS, options=options)
    assert beasts.query(query, options=options).ids == [hit.id for hit in hits]
    assert beasts.query(query).ids != [hit.id for hit in hits]


def test_variety_is_among_what_options_leave(beasts: DecantVectorStore) -> None:
    query = VectorStoreQuery(
        query_str=QUERY, mode=VectorStoreQueryMode.MMR, similarity_top_k=6, mmr_threshold=0.5
    )
    least = SearchOptions(score_threshold=0.3)
    left = [hit.id for hit in beasts.collection.search(QUERY, mode=SearchMode.DENSE, options=least)]
    assert 0 < len(left) < len(TEXTS)
    assert sorted(beasts.query(query, options=least).ids or []) == sorted(left)


def test_depths_and_options_together_are_refused(beasts: DecantVectorStore) -> None:
    query = VectorStoreQuery(query_str=QUERY, mode=VectorStoreQueryMode.HYBRID, sparse_top_k=3)
    with pytest.raises(ValueError, match="give one of them"):
        beasts.query(query, options=SearchOptions(distinct=True))


def test_a_mode_may_be_given_by_its_name(
    beasts: DecantVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: Any = "words"
    calls = counted_encodes(monkeypatch)
    found = beasts.query(VectorStoreQuery(query_str=QUERY, similarity_top_k=3), mode=words)
    assert found.ids == [hit.id for hit in beasts.collection.search(QUERY, limit=3, mode=words)]
    assert calls == []
