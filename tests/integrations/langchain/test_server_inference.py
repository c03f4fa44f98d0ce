"""LangChain's classes over a collection whose server has texts embedded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.documents import Document

from decant.embedders import HashEncoder, StoreError
from decant.integrations.langchain import DecantRetriever, DecantVectorStore
from decant.integrations.qdrant import SearchMode
from served_inference import serve_collection

TEXTS = ["the ferry leaves at seven", "rain falls on the pier", "bread rises", "a cat sat"]
QUERY = "when does the ferry leave the pier"


@pytest.fixture(scope="module")
def stores() -> Iterator[tuple[DecantVectorStore, DecantVectorStore]]:
    """Return stores over one collection, with its model and without, filled without."""
    with serve_collection(HashEncoder(16, sparse=True)) as (held, remote):
        without = DecantVectorStore(remote)
        without.add_texts([*TEXTS, " "], [{"n": n} for n in range(5)], ids=[*"01234"])
        yield DecantVectorStore(held), without


def shown(found: list[tuple[Document, float]]) -> list[tuple[str | None, object]]:
    return [(document.id, pytest.approx(score, abs=1e-5)) for document, score in found]


@pytest.mark.parametrize("mode", [None, *SearchMode])
def test_searches_find_what_they_find_with_the_model(
    stores: tuple[DecantVectorStore, DecantVectorStore], mode: SearchMode | None
) -> None:
    held, without = stores
    found = without.similarity_search_with_score(QUERY, k=3, mode=mode, filter={"n": {"$lt": 3}})
    expected = held.similarity_search_with_score(QUERY, k=3, mode=mode, filter={"n": {"$lt": 3}})
    assert expected
    assert [(document.id, score) for document, score in found] == shown(expected)


@pytest.mark.parametrize("mode", [None, SearchMode.DENSE, SearchMode.WORDS, SearchMode.SPARSE])
def test_relevance_is_of_the_cosine_in_every_mode(
    stores: tuple[DecantVectorStore, DecantVectorStore], mode: SearchMode | None
) -> None:
    held, without = stores
    found = without.similarity_search_with_relevance_scores(QUERY, k=4, mode=mode)
    expected = held.similarity_search_with_relevance_scores(QUERY, k=4, mode=mode)
    assert expected
    assert [(document.id, score) for document, score in found] == shown(expected)


def test_variety_and_retrievers_work(
    stores: tuple[DecantVectorStore, DecantVectorStore],
) -> None:
    held, without = stores
    arguments = {"k": 3, "fetch_k": 4, "lambda_mult": 0.2}
    found = without.max_marginal_relevance_search(QUERY, **arguments)  # type: ignore[arg-type]
    expected = held.max_marginal_relevance_search(QUERY, **arguments)  # type: ignore[arg-type]
    assert [one.id for one in found] == [one.id for one in expected]
    retrieved = DecantRetriever(collection=without.collection, k=2).invoke(QUERY)
    assert [one.id for one in retrieved] == [
        one.id for one in DecantRetriever(collection=held.collection, k=2).invoke(QUERY)
    ]
    assert without.as_retriever(search_kwargs={"k": 1}).invoke(QUERY)[0].id == "0"


async def test_coroutines_work(stores: tuple[DecantVectorStore, DecantVectorStore]) -> None:
    _, without = stores
    found = await without.asimilarity_search(QUERY, k=2)
    assert [one.id for one in found] == [one.id for one in without.similarity_search(QUERY, k=2)]


def test_embeddings_say_that_they_cannot_return_numbers(
    stores: tuple[DecantVectorStore, DecantVectorStore],
) -> None:
    _, without = stores
    for work in (
        lambda: without.embeddings.embed_query(QUERY),
        lambda: without.embeddings.embed_documents(TEXTS),
    ):
        with pytest.raises(StoreError, match=r"model is not on this machine.*no vector comes back"):
            work()
