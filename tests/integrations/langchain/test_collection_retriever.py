"""DecantRetriever: LangChain's standard tests on every engine, then what its documents carry."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError

from decant.embedders import StoreError
from decant.integrations.langchain import DecantRetriever, DecantVectorStore
from decant.integrations.qdrant import Collection, Fusion, Range, Record, SearchMode, Store
from gated_encoder import GatedEncoder, through
from word_notes import QUERY, counted_encodes, word_notes

MODES = [None, SearchMode.DENSE, SearchMode.WORDS, SearchMode.HYBRID]


@pytest.fixture
def notes(store: Store) -> Collection:
    """Return a collection of three texts, one of which holds the query's code."""
    return word_notes(store)


class TestStandard(RetrieversIntegrationTests):
    """LangChain's tests of a retriever, synchronous and asynchronous."""

    @pytest.fixture(autouse=True)
    def _filled(self, notes: Collection) -> None:
        self.notes = notes

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        """The class under test."""
        return DecantRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        """What it is made with."""
        return {"collection": self.notes}

    @property
    def retriever_query_example(self) -> str:
        """A query."""
        return QUERY


@pytest.mark.parametrize("mode", MODES)
def test_documents_are_the_hits_with_their_scores_and_branches(
    notes: Collection, mode: SearchMode | None
) -> None:
    hits = notes.search(QUERY, limit=3, mode=mode)
    found = DecantRetriever(collection=notes, k=3, mode=mode).invoke(QUERY)
    assert [one.id for one in found] == [hit.id for hit in hits]
    for rank, (one, hit) in enumerate(zip(found, hits, strict=True), 1):
        assert json.loads(json.dumps(one.metadata)) == one.metadata
        assert one.metadata["_rank"] == rank
        assert one.metadata["_score"] == pytest.approx(hit.score)
        assert one.metadata["_branches"] == [
            {"name": part.name, "rank": part.rank, "score": pytest.approx(part.score)}
            for part in hit.branches
        ]


def test_entries_of_a_documents_own_are_not_overwritten(collection: Collection) -> None:
    own = {"_score": "mine", "_rank": None, "page": 3}
    collection.add([Record(id="a", text="a text", metadata=own, source="a.md")])
    (found,) = DecantRetriever(collection=collection).invoke("a text")
    assert {**found.metadata, "_branches": []} == {**own, "source": "a.md", "_branches": []}
    (shown,) = DecantVectorStore(collection).get_by_ids(["a"])
    assert shown.metadata == {**own, "source": "a.md"}, "what is stored stays as it is"


async def test_every_way_to_call_takes_the_arguments_of_one_call(notes: Collection) -> None:
    retriever = DecantRetriever(collection=notes, k=3)
    words = [hit.id for hit in notes.search(QUERY, limit=1, mode=SearchMode.WORDS)]
    asked: dict[str, Any] = {"k": 1, "mode": SearchMode.WORDS}
    assert [one.id for one in retriever.invoke(QUERY, **asked)] == words
    assert [one.id for one in await retriever.ainvoke(QUERY, **asked)] == words
    assert [len(found) for found in retriever.batch([QUERY, "cat"])] == [3, 3]
    assert [len(found) for found in await retriever.abatch([QUERY, "cat"])] == [3, 3]
    with pytest.raises(TypeError, match="top_k"):
        retriever.invoke(QUERY, top_k=1)


def test_a_fusion_weighs_the_rankings(notes: Collection) -> None:
    dense = DecantRetriever(collection=notes, fusion=Fusion.rrf(weights={"words": 0}))
    alone = notes.search(QUERY, mode=SearchMode.DENSE)
    assert [one.id for one in dense.invoke(QUERY)] == [hit.id for hit in alone]


def test_filters_are_those_of_the_vector_store(collection: Collection) -> None:
    collection.add(
        [Record(id=str(year), text="a year", metadata={"year": year}) for year in (1900, 1950)]
    )
    for wanted in ({"year": 1950}, {"year": {"$gt": 1900}}, Range("year", gte=1950)):
        made = DecantRetriever(collection=collection, filter=wanted)
        assert [one.id for one in made.invoke("a year")] == ["1950"]
        assert [one.id for one in made.invoke("a year", filter={"year": 1900})] == ["1900"]


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"k": 0}, ValidationError, "greater than or equal to 1"),
        ({"top_k": 3}, ValidationError, "top_k"),
        ({"mode": "nearest"}, ValidationError, "'hybrid'"),
        ({"fusion": "rrf"}, ValidationError, "Fusion"),
        ({"filter": {"year": {"$near": 3}}}, StoreError, "known are"),
        ({"collection": "docs"}, ValidationError, "Collection"),
    ],
    ids=str,
)
def test_what_a_retriever_does_not_take_is_refused_when_it_is_made(
    collection: Collection, fields: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        DecantRetriever(**{"collection": collection, **fields})


def test_a_query_is_embedded_once_and_words_not_at_all(
    notes: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = counted_encodes(monkeypatch)
    retriever = DecantRetriever(collection=notes)
    retriever.invoke(QUERY)
    assert len(calls) == 1
    retriever.invoke(QUERY, mode=SearchMode.WORDS)
    assert len(calls) == 1


def test_it_is_a_link_of_a_chain(notes: Collection) -> None:
    chain: Any = {"found": DecantRetriever(collection=notes, k=2), "asked": RunnablePassthrough()}
    answer: Any = (RunnablePassthrough() | chain).invoke(QUERY)
    assert answer["asked"] == QUERY
    assert len(answer["found"]) == 2


async def test_the_coroutine_leaves_the_event_loop_free(store: Store) -> None:
    encoder = GatedEncoder()
    made = Collection.create(store, "gated", encoder)
    await through(encoder, asyncio.to_thread(made.add, [Record(id="oak", text="an oak")]))
    (found,) = await through(encoder, DecantRetriever(collection=made).ainvoke("an oak"))
    assert found.id == "oak"
    store.drop("gated")


class Traced(BaseCallbackHandler):
    """Keeps what a tracer is given."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.found: list[Document] = []

    def on_retriever_start(self, *args: Any, metadata: Any = None, **kwargs: Any) -> None:
        """Keep the metadata of the run."""
        self.metadata = metadata

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        """Keep the documents."""
        self.found = documents


def test_a_trace_holds_the_same_names_as_that_of_the_vector_store(notes: Collection) -> None:
    ours, theirs = Traced(), Traced()
    found = DecantRetriever(collection=notes).invoke(QUERY, {"callbacks": [ours]})
    DecantVectorStore(notes).as_retriever().invoke(QUERY, {"callbacks": [theirs]})
    assert ours.found == found
    named = {name for name in theirs.metadata if name.startswith("ls_")} - {"ls_retriever_name"}
    assert named
    assert {name: ours.metadata[name] for name in named} == {
        name: theirs.metadata[name] for name in named
    }
    assert ours.metadata["ls_embedding_model"] == notes.encoder.recipe.base
    assert ours.metadata["ls_retriever_name"] == "decant"


def test_copies_share_the_collection_and_pickles_are_refused(notes: Collection) -> None:
    made = DecantRetriever(collection=notes, k=2)
    assert copy.copy(made).collection is copy.deepcopy(made).collection is notes
    with pytest.raises(TypeError, match=r"cannot be pickled.*open the collection"):
        pickle.dumps(made)
    assert repr(made) == f"DecantRetriever({notes!r}, k=2)"
