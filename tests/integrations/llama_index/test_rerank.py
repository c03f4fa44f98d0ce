"""DecantRerank: the nodes that it keeps, what LlamaIndex is told, what is saved."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import QueryBundle
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.vector_stores import VectorStoreQuery
from numpy.typing import NDArray
from pydantic import ValidationError

from decant.embedders import BundleError, HashEncoder, HashReranker, RecipeError, TextError
from decant.integrations.llama_index import DecantRerank, DecantVectorStore
from decant.integrations.qdrant import Collection, Record, Rerank, SearchOptions, Store

QUERY = "what do oaks do"
TEXTS = ["deep sea", "oaks grow slowly and what they do", "what oaks do", "deep sea"]


def nodes() -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(id_=str(place), text=text), score=place / 8)
        for place, text in enumerate(TEXTS)
    ]


def best(top_n: int = 2, **fields: Any) -> DecantRerank:
    return DecantRerank(reranker=HashReranker(), top_n=top_n, **fields)


class InThreads(HashReranker):
    """Remembers in which threads it scored."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def score(self, query: str, texts: Iterable[str], **options: Any) -> NDArray[np.float32]:
        self.threads.add(threading.get_ident())
        return super().score(query, texts, **options)


def test_the_best_nodes_come_first_with_their_scores() -> None:
    assert isinstance(best(), BaseNodePostprocessor)
    found = best(3).postprocess_nodes(nodes(), query_str=QUERY)
    assert [one.node.node_id for one in found] == ["2", "1", "0"]
    assert [one.score for one in found] == HashReranker().score(
        QUERY, [one.text for one in found]
    ).tolist()
    assert best(9).postprocess_nodes([], query_str=QUERY) == []
    by_bundle = best(3).postprocess_nodes(nodes(), query_bundle=QueryBundle(QUERY))
    assert by_bundle == found


@pytest.mark.parametrize("keep", [False, True])
def test_the_nodes_given_are_not_changed(keep: bool) -> None:
    given = nodes()
    before = copy.deepcopy(given)
    found = best(keep_retrieval_score=keep).postprocess_nodes(given, query_str=QUERY)
    assert given == before
    kept = {"retrieval_score": 2 / 8} if keep else {}
    assert found[0].node.metadata == kept


def test_the_metadata_that_are_embedded_are_read() -> None:
    node = TextNode(
        text="deep sea",
        metadata={"title": "what do oaks do", "secret": "what oaks do"},
        excluded_embed_metadata_keys=["secret"],
    )
    asked = best(1).postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
    read = "title: what do oaks do\n\ndeep sea"
    assert asked[0].score == HashReranker().score(QUERY, [read])[0]


def test_the_coroutine_scores_in_a_thread() -> None:
    spy = InThreads()
    made = DecantRerank(reranker=spy, top_n=2)
    found = asyncio.run(made.apostprocess_nodes(nodes(), query_str=QUERY))
    assert found == best().postprocess_nodes(nodes(), query_str=QUERY)
    assert threading.get_ident() not in spy.threads


def test_callbacks_and_events_are_those_of_llama_indexes_rerankers() -> None:
    seen: list[BaseEvent] = []

    class Seen(BaseEventHandler):
        def handle(self, event: BaseEvent, **_: Any) -> None:
            seen.append(event)

    handler, debug = Seen(), LlamaDebugHandler(print_trace_on_end=False)
    dispatcher = get_dispatcher()
    dispatcher.add_event_handler(handler)
    try:
        made = best(callback_manager=CallbackManager([debug]))
        found = made.postprocess_nodes(nodes(), query_str=QUERY)
    finally:
        dispatcher.event_handlers.remove(handler)
    start: Any
    end: Any
    start, end = (one for one in seen if "ReRank" in one.class_name())
    assert (start.class_name(), start.top_n, start.model_name) == ("ReRankStartEvent", 2, "hash")
    assert (end.class_name(), end.nodes) == ("ReRankEndEvent", found)
    ((begun, ended),) = debug.get_event_pairs(CBEventType.RERANKING)
    assert begun.payload is not None
    assert begun.payload[EventPayload.QUERY_STR] == QUERY
    assert begun.payload[EventPayload.TOP_K] == 2
    assert ended.payload == {EventPayload.NODES: found}


def test_saved_fields_make_an_equal_postprocessor(tmp_path: Path) -> None:
    made = best(3, keep_retrieval_score=True)
    saved = made.to_dict()
    assert (saved["class_name"], saved["model"], saved["top_n"]) == ("DecantRerank", "hash", 3)
    again = DecantRerank.from_dict(saved, reranker=HashReranker())
    assert again.to_dict() == saved
    wanted = made.postprocess_nodes(nodes(), query_str=QUERY)
    assert again.postprocess_nodes(nodes(), query_str=QUERY) == wanted
    with pytest.raises(RecipeError, match="saved with the recipe hash"):
        DecantRerank.from_dict(saved, reranker=HashReranker(max_tokens=9))
    with pytest.raises(TypeError, match="needs a reranker"):
        DecantRerank.from_dict(saved)
    with pytest.raises(BundleError):
        DecantRerank.from_bundle(tmp_path)


def test_copies_share_the_reranker_and_pickles_have_an_equal_one() -> None:
    made = best(3, keep_retrieval_score=True)
    for one in (copy.copy(made), copy.deepcopy(made)):
        assert one.reranker is made.reranker
    again = pickle.loads(pickle.dumps(made))
    assert again.to_dict() == made.to_dict()
    assert repr(again) == "DecantRerank('hash', top_n=3)"
    wanted = made.postprocess_nodes(nodes(), query_str=QUERY)
    assert again.postprocess_nodes(nodes(), query_str=QUERY) == wanted


def test_what_cannot_be_scored_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="reads the query"):
        best().postprocess_nodes(nodes())
    blank = NodeWithScore(node=TextNode(id_="7", text=""))
    with pytest.raises(TextError, match="node 7 has no text"):
        best().postprocess_nodes([*nodes(), blank], query_str=QUERY)
    with pytest.raises(TextError, match="query"):
        best().postprocess_nodes(nodes(), query_str="")
    with pytest.raises(RecipeError, match="no instruction"):
        best(instruction="Find trees").postprocess_nodes(nodes(), query_str=QUERY)
    with pytest.raises(ValidationError):
        best(0)
    with pytest.raises(TypeError, match="needs a reranker"):
        DecantRerank()


def test_a_query_of_the_vector_store_takes_a_reranker_in_its_options(store: Store) -> None:
    made = Collection.create(store, "trees", HashEncoder(8))
    made.add([Record(id=str(place), text=text) for place, text in enumerate(TEXTS)])
    options = SearchOptions(rerank=Rerank(HashReranker(), candidates=4))
    wanted = [hit.id for hit in made.search(QUERY, limit=2, options=options)]
    query = VectorStoreQuery(query_str=QUERY, similarity_top_k=2)
    vectors = DecantVectorStore(made)
    assert vectors.query(query, options=options).ids == wanted
    assert asyncio.run(vectors.aquery(query, options=options)).ids == wanted
