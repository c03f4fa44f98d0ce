"""DecantReranker, and searches of LangChain's classes with a reranker."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import RunnableLambda
from numpy.typing import NDArray
from pydantic import ValidationError

from decant.embedders import (
    BundleError,
    HashEncoder,
    HashReranker,
    RecipeError,
    StoreError,
    TextError,
)
from decant.integrations.langchain import DecantReranker, DecantRetriever, DecantVectorStore
from decant.integrations.qdrant import Collection, Record, Rerank, SearchOptions, connect

QUERY = "what do oaks do"
DOCUMENTS = [
    Document("deep sea", id="sea", metadata={"page": 1}),
    Document("oaks grow slowly and what they do", id="oak"),
    Document("what oaks do"),
    Document("deep sea"),
]


class InThreads(HashReranker):
    """Remembers in which threads it scored."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def score(self, query: str, texts: Iterable[str], **options: Any) -> NDArray[np.float32]:
        self.threads.add(threading.get_ident())
        return super().score(query, texts, **options)


@pytest.fixture
def reranker() -> DecantReranker:
    return DecantReranker(reranker=HashReranker())


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with connect(tmp_path_factory.mktemp("trees") / "index") as store:
        made = Collection.create(store, "trees", HashEncoder(8))
        texts = ["deep sea", "oaks grow", "what oaks do", "what birches do", "a sea of oaks"]
        made.add([Record(id=str(place), text=text) for place, text in enumerate(texts)])
        yield made


def test_the_best_documents_come_first_with_their_scores(reranker: DecantReranker) -> None:
    assert isinstance(reranker, BaseDocumentCompressor)
    found = reranker.compress_documents(DOCUMENTS, QUERY)
    assert [one.page_content for one in found] == [
        DOCUMENTS[2].page_content,
        DOCUMENTS[1].page_content,
        "deep sea",
    ]
    scores = HashReranker().score(QUERY, [one.page_content for one in found]).tolist()
    assert [one.metadata["relevance_score"] for one in found] == scores
    assert found[1].id == "oak"
    assert found[2].id == "sea", "equal scores keep their order"
    assert found[2].metadata["page"] == 1


def test_the_documents_given_are_not_changed(reranker: DecantReranker) -> None:
    before = copy.deepcopy(DOCUMENTS)
    reranker.compress_documents(DOCUMENTS, QUERY)
    assert before == DOCUMENTS


@pytest.mark.parametrize(("top_n", "count"), [(1, 1), (3, 3), (9, 4), (None, 4)])
def test_top_n_is_how_many_are_kept(top_n: int | None, count: int) -> None:
    reranker = DecantReranker(reranker=HashReranker(), top_n=top_n)
    assert len(reranker.compress_documents(DOCUMENTS, QUERY)) == count
    assert reranker.compress_documents([], QUERY) == []


def test_the_coroutine_scores_in_a_thread(reranker: DecantReranker) -> None:
    spy = InThreads()
    found = asyncio.run(DecantReranker(reranker=spy).acompress_documents(DOCUMENTS, QUERY))
    assert found == reranker.compress_documents(DOCUMENTS, QUERY)
    assert threading.get_ident() not in spy.threads


def test_it_reranks_what_a_retriever_finds(trees: Collection, reranker: DecantReranker) -> None:
    retriever = DecantRetriever(collection=trees, k=5)

    def rerank(found: list[Document]) -> Sequence[Document]:
        return reranker.compress_documents(found, QUERY)

    chain = retriever | RunnableLambda(rerank)
    found = chain.invoke(QUERY)
    assert found[0].page_content == "what oaks do"
    assert {"_score", "_rank", "relevance_score"} <= found[0].metadata.keys()


def test_it_works_in_a_contextual_compression_retriever(
    trees: Collection, reranker: DecantReranker
) -> None:
    langchain = pytest.importorskip(
        "langchain_classic.retrievers", reason="langchain-classic has this retriever"
    )
    made = langchain.ContextualCompressionRetriever(
        base_compressor=reranker, base_retriever=DecantRetriever(collection=trees, k=5)
    )
    assert made.invoke(QUERY)[0].page_content == "what oaks do"
    assert asyncio.run(made.ainvoke(QUERY)) == made.invoke(QUERY)


def test_copies_share_the_reranker_and_pickles_have_an_equal_one(reranker: DecantReranker) -> None:
    wanted = reranker.compress_documents(DOCUMENTS, QUERY)
    for made in (copy.copy(reranker), copy.deepcopy(reranker), reranker.model_copy()):
        assert made.reranker is reranker.reranker
    again = pickle.loads(pickle.dumps(reranker))
    assert again.compress_documents(DOCUMENTS, QUERY) == wanted
    assert repr(again) == "DecantReranker('hash', top_n=3)"


def test_a_folder_without_a_reranker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        DecantReranker.from_bundle(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"reranker": "a folder"},
        {"reranker": HashEncoder(4)},
        {"reranker": HashReranker(), "top_n": 0},
        {"reranker": HashReranker(), "topn": 3},
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DecantReranker(**arguments)


def test_a_document_without_text_is_named(reranker: DecantReranker) -> None:
    with pytest.raises(TextError, match="document 1 of id 'x' has no text"):
        reranker.compress_documents([DOCUMENTS[0], Document("", id="x")], QUERY)
    with pytest.raises(TextError, match="query"):
        reranker.compress_documents(DOCUMENTS, "")


def test_an_instruction_reaches_the_reranker() -> None:
    made = DecantReranker(reranker=HashReranker(), instruction="Find trees")
    with pytest.raises(RecipeError, match="no instruction"):
        made.compress_documents(DOCUMENTS, QUERY)


def test_a_retriever_reranks_within_its_search(trees: Collection) -> None:
    wanted = trees.search(QUERY, limit=2, rerank=HashReranker(), candidates=4)
    made = DecantRetriever(collection=trees, k=2, rerank=HashReranker(), candidates=4)
    for found in (made.invoke(QUERY), asyncio.run(made.ainvoke(QUERY))):
        assert [one.id for one in found] == [hit.id for hit in wanted]
        assert [one.metadata["_score"] for one in found] == [hit.score for hit in wanted]
        assert found[0].metadata["_branches"][-1]["name"] == "rerank"
    plain = DecantRetriever(collection=trees, k=2)
    found = plain.invoke(QUERY, rerank=HashReranker(), candidates=4)
    assert [one.id for one in found] == [hit.id for hit in wanted]
    assert plain.invoke(QUERY, k=5)[0].metadata["_branches"][-1]["name"] == "dense"


@pytest.mark.parametrize(
    "arguments",
    [
        {"candidates": 4},
        {"rerank": "a folder"},
        {"rerank": HashReranker(), "options": SearchOptions(rerank=Rerank(HashReranker()))},
    ],
)
def test_a_retriever_refuses_what_a_search_would(
    trees: Collection, arguments: dict[str, Any]
) -> None:
    with pytest.raises(StoreError):
        DecantRetriever(collection=trees, **arguments)


def test_searches_of_the_vector_store_take_a_reranker_by_name(trees: Collection) -> None:
    store = DecantVectorStore(trees)
    wanted = [hit.id for hit in trees.search(QUERY, limit=2, rerank=HashReranker(), candidates=4)]
    asked: dict[str, Any] = {"k": 2, "rerank": HashReranker(), "candidates": 4}
    found = [
        store.similarity_search(QUERY, **asked),
        asyncio.run(store.asimilarity_search(QUERY, **asked)),
        [one for one, _ in store.similarity_search_with_score(QUERY, **asked)],
        [one for one, _ in store.similarity_search_with_relevance_scores(QUERY, **asked)],
        store.as_retriever(**asked).invoke(QUERY),
        store.similarity_search(QUERY, k=2, rerank=Rerank(HashReranker(), candidates=4)),
    ]
    for documents in found:
        assert [one.id for one in documents] == wanted
    with pytest.raises(StoreError, match="mmr and rerank"):
        store.max_marginal_relevance_search(QUERY, **asked)
    with pytest.raises(StoreError, match="reads the query's text"):
        store.similarity_search_by_vector([0.5] * 8, **asked)
    with pytest.raises(StoreError, match="give rerank="):
        store.similarity_search(QUERY, candidates=3)
