"""The fields of SearchOptions in LangChain's searches: what the collection does with them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from langchain_core.documents import Document

from decant.embedders import HashEncoder, StoreError
from decant.integrations.langchain import DecantRetriever, DecantVectorStore
from decant.integrations.qdrant import (
    MMR,
    Boost,
    Chunking,
    Collection,
    CollectionSettings,
    Group,
    Recency,
    Record,
    SearchMode,
    SearchOptions,
    Store,
    Words,
)
from decant.integrations.qdrant import Document as Text
from word_notes import counted_encodes

QUERY = "what do cats do"
TEXTS = ["a cat sat", "a cat sat", "cats sleep", "cats run", "rain fell", "a dog sat"]


@pytest.fixture
def beasts(store: Store) -> DecantVectorStore:
    """Return a store of dense vectors and words, in which two texts are equal."""
    if "beasts" in store.names():
        store.drop("beasts")
    made = Collection.create(
        store, "beasts", HashEncoder(64), settings=CollectionSettings(words=Words())
    )
    made.add(
        [
            Record(
                id=str(number),
                text=text,
                source="ab"[number % 2],
                metadata={"priority": number, "seen": f"2024-01-0{number + 1}"},
            )
            for number, text in enumerate(TEXTS)
        ]
    )
    return DecantVectorStore(made)


OPTIONS: list[dict[str, Any]] = [
    {"group": Group()},
    {"distinct": True},
    {"boosts": [Boost("priority", weight=5.0)]},
    {"boosts": [Recency("seen", half_life=timedelta(days=1), weight=9.0)]},
    {"mmr": MMR(balance=0.1, candidates=6)},
    {"exact": True},
    {"ef": 8},
    {"distinct": True, "exact": True},
]
MODES = [None, SearchMode.DENSE]


def ids(found: list[Document]) -> list[str | None]:
    return [document.id for document in found]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_searches_and_retrievers_give_what_the_collection_gives(
    beasts: DecantVectorStore, options: dict[str, Any], mode: SearchMode | None
) -> None:
    wanted = SearchOptions(**options)
    hits = beasts.collection.search(QUERY, limit=3, mode=mode, options=wanted)
    expected = [hit.id for hit in hits]
    scored = beasts.similarity_search_with_score(QUERY, k=3, mode=mode, **options)
    assert ids(beasts.similarity_search(QUERY, k=3, mode=mode, **options)) == expected
    assert ids([one for one, _ in scored]) == expected
    assert [score for _, score in scored] == pytest.approx([hit.score for hit in hits])
    relevant = beasts.similarity_search_with_relevance_scores(QUERY, k=3, mode=mode, **options)
    assert ids([one for one, _ in relevant]) == expected
    assert ids(beasts.as_retriever(k=3, mode=mode, **options).invoke(QUERY)) == expected
    inside = beasts.as_retriever(search_kwargs={"k": 3, "mode": mode, **options})
    assert ids(inside.invoke(QUERY)) == expected
    ours = DecantRetriever(collection=beasts.collection, k=3, mode=mode, options=wanted)
    assert ids(ours.invoke(QUERY)) == expected
    plain = DecantRetriever(collection=beasts.collection, k=3, mode=mode)
    assert ids(plain.invoke(QUERY, options=wanted)) == expected


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_searches_by_a_vector_take_them(beasts: DecantVectorStore, options: dict[str, Any]) -> None:
    vector = beasts.embeddings.embed_query(QUERY)
    dense = beasts.similarity_search(QUERY, k=3, mode=SearchMode.DENSE, **options)
    assert beasts.similarity_search_by_vector(vector, k=3, **options) == dense


def test_they_change_what_is_found(beasts: DecantVectorStore) -> None:
    plain = beasts.similarity_search(QUERY, k=6)
    assert len({one.page_content for one in plain}) == 5 < len(plain)
    assert len(beasts.similarity_search(QUERY, k=6, distinct=True)) == 5
    by_document = beasts.similarity_search(QUERY, k=6, group=Group())
    assert sorted(one.metadata["source"] for one in by_document) == ["a", "b"]
    boosted = beasts.similarity_search(QUERY, k=6, boosts=[Boost("priority", weight=99.0)])
    assert ids(boosted) != ids(plain)


async def test_the_coroutines_take_them(beasts: DecantVectorStore) -> None:
    options: dict[str, Any] = {"distinct": True, "group": Group(by="seen")}
    expected = ids(beasts.similarity_search(QUERY, k=3, **options))
    assert ids(await beasts.asimilarity_search(QUERY, k=3, **options)) == expected
    retriever = beasts.as_retriever(k=3, **options)
    assert ids(await retriever.ainvoke(QUERY)) == expected
    varied = await beasts.amax_marginal_relevance_search(QUERY, k=3, distinct=True)
    assert ids(varied) == ids(beasts.max_marginal_relevance_search(QUERY, k=3, distinct=True))


def test_a_threshold_is_a_cosine_of_a_dense_search(beasts: DecantVectorStore) -> None:
    scored = beasts.similarity_search_with_score(QUERY, k=6, mode=SearchMode.DENSE)
    threshold = (scored[2][1] + scored[3][1]) / 2
    kept = ids([one for one, score in scored if score >= threshold])
    assert 0 < len(kept) < len(scored)
    found = beasts.similarity_search(QUERY, k=6, mode=SearchMode.DENSE, score_threshold=threshold)
    assert ids(found) == kept
    vector = beasts.embeddings.embed_query(QUERY)
    near = beasts.similarity_search_by_vector(vector, k=6, score_threshold=threshold)
    assert ids(near) == kept
    retriever = beasts.as_retriever(k=6, mode=SearchMode.DENSE, score_threshold=threshold)
    assert ids(retriever.invoke(QUERY)) == kept


def test_a_threshold_of_fused_scores_is_refused_and_one_of_a_ranking_is_not(
    beasts: DecantVectorStore,
) -> None:
    with pytest.raises(StoreError, match="no threshold on it means anything"):
        beasts.similarity_search(QUERY, score_threshold=0.5)
    found = beasts.similarity_search(QUERY, k=6, score_threshold={"dense": 2.0})
    words = beasts.similarity_search(QUERY, k=6, mode=SearchMode.WORDS)
    assert {*ids(found)} == {*ids(words)}


def test_langchains_own_threshold_still_means_relevance(beasts: DecantVectorStore) -> None:
    scored = beasts.similarity_search_with_relevance_scores(QUERY, k=6, distinct=True)
    threshold = sorted(relevance for _, relevance in scored)[2]
    kept = ids([one for one, relevance in scored if relevance >= threshold])
    retriever = beasts.as_retriever(
        search_type="similarity_score_threshold", score_threshold=threshold, k=6, distinct=True
    )
    assert ids(retriever.invoke(QUERY)) == kept


@pytest.mark.parametrize(
    "call",
    [
        lambda made: made.similarity_search(QUERY, groups=1),
        lambda made: made.similarity_search_by_vector([0.1] * 64, mode="dense"),
        lambda made: made.max_marginal_relevance_search(QUERY, mmr=MMR()),
        lambda made: made.as_retriever(reranker=True),
        lambda made: made.as_retriever(search_kwargs={"options": SearchOptions()}).invoke(QUERY),
    ],
)
def test_what_no_search_knows_is_refused(
    beasts: DecantVectorStore, call: Callable[[DecantVectorStore], object]
) -> None:
    with pytest.raises(TypeError, match="does not know"):
        call(beasts)


def test_a_group_by_source_is_that_which_documents_show(collection: Collection) -> None:
    collection.index(
        [Text(source=f"{name}.md", text="an oak. " * 60) for name in ("a", "b")],
        chunking=Chunking(max_tokens=20),
    )
    made = DecantVectorStore(collection)
    found = made.similarity_search("oak", k=9, mode=SearchMode.DENSE, group=Group(by="source"))
    assert sorted(one.metadata["source"] for one in found) == ["a.md", "b.md"]


def test_impossible_options_are_refused(beasts: DecantVectorStore) -> None:
    with pytest.raises(StoreError, match="ef is a whole number from 1"):
        beasts.similarity_search(QUERY, ef=0)
    with pytest.raises(StoreError, match="balance"):
        beasts.max_marginal_relevance_search(QUERY, lambda_mult=1.5)


@pytest.mark.parametrize("mode", [*MODES, SearchMode.WORDS])
def test_each_search_embeds_its_query_once_at_most(
    beasts: DecantVectorStore, mode: SearchMode | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted_encodes(monkeypatch)
    beasts.similarity_search(QUERY, mode=mode, distinct=True)
    beasts.max_marginal_relevance_search(QUERY, mode=mode)
    assert len(calls) == (0 if mode is SearchMode.WORDS else 2)
