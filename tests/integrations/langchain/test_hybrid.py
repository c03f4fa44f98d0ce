"""LangChain's store over a collection with sparse vectors: all searches by a text rank alike."""

from __future__ import annotations

import numpy as np
import pytest
from langchain_core.documents import Document

from decant.embedders import HashEncoder, Role, StoreError
from decant.integrations.langchain import DecantVectorStore
from decant.integrations.qdrant import Collection, Record, SearchMode, Store
from word_notes import counted_encodes

QUERY = "cat"
MODES = [None, SearchMode.DENSE, SearchMode.SPARSE, SearchMode.HYBRID]


@pytest.fixture
def beasts(store: Store) -> DecantVectorStore:
    """Return a store in which DENSE and HYBRID rank otherwise.

    The dense vectors of "rain" and of "a cat sat" are swapped, so that a dense ranking begins with
    a text that shares no word with the query.
    """
    if "beasts" in store.names():
        store.drop("beasts")
    encoder = HashEncoder(64, sparse=True)
    collection = Collection.create(store, "beasts", encoder)
    texts = {"rain": "rain", "cats": "cat cat cat", "cat": "a cat sat", "dog": "a dog sat here"}
    vectors = encoder.encode(
        list(texts.values()), role=Role.PASSAGE, outputs=collection._target.searched
    )
    order = [1, 0, 2, 3]
    swapped = type(vectors)(dense=vectors.dense[order], sparse=vectors.sparse)
    collection.add([Record(id=id_, text=text) for id_, text in texts.items()], vectors=swapped)
    return DecantVectorStore(collection)


def ids(found: list[Document]) -> list[str | None]:
    return [document.id for document in found]


def expected(beasts: DecantVectorStore, mode: SearchMode | None) -> list[str | None]:
    return [hit.id for hit in beasts.collection.search(QUERY, limit=3, mode=mode)]


def test_the_modes_differ_here(beasts: DecantVectorStore) -> None:
    assert expected(beasts, SearchMode.DENSE)[0] == "rain"
    assert expected(beasts, SearchMode.SPARSE) == ["cats", "cat"]
    assert expected(beasts, None) == expected(beasts, SearchMode.HYBRID)
    assert expected(beasts, None) != expected(beasts, SearchMode.DENSE)


@pytest.mark.parametrize("mode", MODES)
def test_searches_by_a_text_rank_alike(beasts: DecantVectorStore, mode: SearchMode | None) -> None:
    wanted = expected(beasts, mode)
    with_scores = beasts.similarity_search_with_score(QUERY, k=3, mode=mode)
    relevant = beasts.similarity_search_with_relevance_scores(QUERY, k=3, mode=mode)
    retriever = beasts.as_retriever(search_kwargs={"mode": mode, "k": 3})
    threshold = beasts.as_retriever(
        search_type="similarity_score_threshold",
        search_kwargs={"mode": mode, "k": 3, "score_threshold": 0.0},
    )
    assert ids(beasts.similarity_search(QUERY, k=3, mode=mode)) == wanted
    assert ids([document for document, _ in with_scores]) == wanted
    assert ids([document for document, _ in relevant]) == wanted
    assert ids(retriever.invoke(QUERY)) == wanted
    assert ids(threshold.invoke(QUERY)) == wanted


@pytest.mark.parametrize("mode", MODES)
async def test_their_coroutines_rank_alike(
    beasts: DecantVectorStore, mode: SearchMode | None
) -> None:
    wanted = expected(beasts, mode)
    with_scores = await beasts.asimilarity_search_with_score(QUERY, k=3, mode=mode)
    relevant = await beasts.asimilarity_search_with_relevance_scores(QUERY, k=3, mode=mode)
    retriever = beasts.as_retriever(search_kwargs={"mode": mode, "k": 3})
    assert ids(await beasts.asimilarity_search(QUERY, k=3, mode=mode)) == wanted
    assert ids([document for document, _ in with_scores]) == wanted
    assert ids([document for document, _ in relevant]) == wanted
    assert ids(await retriever.ainvoke(QUERY)) == wanted


@pytest.mark.parametrize("mode", MODES)
def test_scores_are_those_of_the_mode(beasts: DecantVectorStore, mode: SearchMode | None) -> None:
    hits = beasts.collection.search(QUERY, limit=3, mode=mode)
    found = beasts.similarity_search_with_score(QUERY, k=3, mode=mode)
    assert [score for _, score in found] == pytest.approx([hit.score for hit in hits])


@pytest.mark.parametrize("mode", MODES)
def test_relevance_is_made_of_cosines_in_every_mode(
    beasts: DecantVectorStore, mode: SearchMode | None
) -> None:
    query = beasts.collection.encoder.encode([QUERY], role=Role.QUERY).dense[0]
    for document, relevance in beasts.similarity_search_with_relevance_scores(
        QUERY, k=3, mode=mode
    ):
        (held,) = beasts.collection.get([str(document.id)], with_vectors=True)
        assert held.vector is not None
        cosine = query @ held.vector / np.linalg.norm(query) / np.linalg.norm(held.vector)
        assert relevance == pytest.approx((float(cosine) + 1) / 2, abs=1e-5)
        assert 0.0 <= relevance <= 1.0


def test_a_threshold_cuts_what_is_far_by_cosine(beasts: DecantVectorStore) -> None:
    found = beasts.similarity_search_with_relevance_scores(QUERY, k=3)
    kept = beasts.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"k": 3, "score_threshold": 0.9}
    ).invoke(QUERY)
    assert ids(kept) == [document.id for document, relevance in found if relevance >= 0.9]
    assert ids(kept) == ["rain"], "its dense vector is that of the cats"


def test_a_search_with_relevance_embeds_the_query_once(
    beasts: DecantVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted_encodes(monkeypatch)
    beasts.similarity_search_with_relevance_scores(QUERY)
    assert len(calls) == 1


def test_searches_without_a_text_to_weigh_stay_dense(beasts: DecantVectorStore) -> None:
    vector = beasts.embeddings.embed_query(QUERY)
    dense = expected(beasts, SearchMode.DENSE)
    assert ids(beasts.similarity_search_by_vector(vector, k=3)) == dense
    varied = beasts.max_marginal_relevance_search_by_vector(vector, k=3, lambda_mult=1.0)
    assert ids(varied) == dense
    with pytest.raises(TypeError, match="mode"):
        beasts.similarity_search_by_vector(vector, mode=SearchMode.HYBRID)


@pytest.mark.parametrize("mode", MODES)
def test_variety_begins_with_what_the_mode_finds_relevant(
    beasts: DecantVectorStore, mode: SearchMode | None
) -> None:
    wanted = expected(beasts, mode)
    relevant = beasts.max_marginal_relevance_search(QUERY, k=3, lambda_mult=1.0, mode=mode)
    assert ids(relevant) == wanted
    varied = beasts.as_retriever(search_type="mmr", mode=mode, k=3, lambda_mult=0.0)
    assert ids(varied.invoke(QUERY))[0] == wanted[0]


def test_a_mode_that_the_collection_has_not_is_refused(store: Store) -> None:
    if "dense" in store.names():
        store.drop("dense")
    dense = DecantVectorStore(Collection.create(store, "dense", HashEncoder(8)))
    for search in (
        dense.similarity_search,
        dense.similarity_search_with_score,
        dense.similarity_search_with_relevance_scores,
    ):
        with pytest.raises(StoreError, match="neither sparse vectors nor"):
            search("cat", mode=SearchMode.HYBRID)
