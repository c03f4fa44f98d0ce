"""LangChain's store over a collection that indexes words: by words, by both, weighed."""

from __future__ import annotations

import pytest

from decant.integrations.langchain import DecantVectorStore
from decant.integrations.qdrant import Fusion, SearchMode, Store
from word_notes import QUERY, word_notes


@pytest.fixture
def notes(store: Store) -> DecantVectorStore:
    """Return a store of three texts, one of which holds the query's code."""
    return DecantVectorStore(word_notes(store))


@pytest.mark.parametrize("mode", [None, SearchMode.WORDS, SearchMode.HYBRID, SearchMode.DENSE])
def test_searches_by_a_text_rank_as_the_collection_does(
    notes: DecantVectorStore, mode: SearchMode | None
) -> None:
    hits = notes.collection.search(QUERY, limit=3, mode=mode)
    found = notes.similarity_search_with_score(QUERY, k=3, mode=mode)
    assert [document.id for document, _ in found] == [hit.id for hit in hits]
    assert [score for _, score in found] == pytest.approx([hit.score for hit in hits])
    relevant = notes.similarity_search_with_relevance_scores(QUERY, k=3, mode=mode)
    assert [document.id for document, _ in relevant] == [hit.id for hit in hits]
    retriever = notes.as_retriever(search_kwargs={"mode": mode, "k": 3})
    assert [document.id for document in retriever.invoke(QUERY)] == [hit.id for hit in hits]


def test_a_fusion_weighs_the_rankings(notes: DecantVectorStore) -> None:
    query = "error E1234: what does it mean to a cat"
    for weights, mode in (({"dense": 0}, SearchMode.WORDS), ({"words": 0}, SearchMode.DENSE)):
        fused = notes.similarity_search(query, k=3, fusion=Fusion.rrf(weights=weights))
        alone = notes.similarity_search(query, k=3, mode=mode)
        assert [document.id for document in fused][: len(alone)] == [item.id for item in alone]


async def test_the_coroutine_takes_the_mode(notes: DecantVectorStore) -> None:
    found = await notes.asimilarity_search(QUERY, k=3, mode=SearchMode.WORDS)
    assert {document.id for document in found} == {"code", "mean"}
