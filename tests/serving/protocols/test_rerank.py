"""The rerank routes of Cohere and Jina: golden requests and answers, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from decant.embedders import HashReranker

QUERY = "where does the river run"
TEXTS = ["a hill", "where rivers run the river runs", "the river"]
BEST = [1, 2, 0]
# As the clients of Cohere (versions 1 and 2), LangChain and LlamaIndex write them.
COHERE_1 = {"model": "ranker", "query": QUERY, "documents": TEXTS, "return_documents": True}
COHERE_2 = {"model": "ranker", "query": QUERY, "documents": TEXTS, "top_n": 2}
LANGCHAIN = {**COHERE_2, "max_tokens_per_doc": None}
JINA = {"query": QUERY, "documents": [{"text": one} for one in TEXTS], "model": "ranker"}


def body(**changed: object) -> dict[str, object]:
    """Return a request with other fields."""
    return {**COHERE_2, **changed}


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
@pytest.mark.parametrize("asked", [COHERE_1, COHERE_2, LANGCHAIN, JINA])
def test_documents_come_in_the_order_of_their_scores(
    asked: dict[str, Any], path: str, ranking: TestClient, ranker: HashReranker
) -> None:
    answer = ranking.post(path, json=asked)
    assert answer.status_code == 200, answer.text
    found, scores = answer.json(), ranker.score(QUERY, TEXTS)
    best = BEST[: asked.get("top_n")]
    assert [one["index"] for one in found["results"]] == best
    given = np.array([one["relevance_score"] for one in found["results"]], np.float32)
    np.testing.assert_array_equal(given, scores[best])
    if asked is COHERE_1:
        assert [one["document"] for one in found["results"]] == [{"text": TEXTS[at]} for at in best]
    else:
        assert all("document" not in one for one in found["results"])


def test_one_answer_is_read_by_both_kinds_of_clients(ranking: TestClient) -> None:
    found = ranking.post("/v2/rerank", json=COHERE_2).json()
    words = sum(ranker_words(text) for text in TEXTS)
    assert len(found.pop("id")) == 36
    assert found == {
        "object": "list",
        "model": "ranker",
        "results": found["results"],
        "usage": {"prompt_tokens": words, "total_tokens": words},
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": words},
        },
    }


def ranker_words(text: str) -> int:
    """Return how many words the reranker reads of the query and a text."""
    return len(QUERY.split()) + len(text.split())


def test_an_only_reranker_needs_no_name(ranking: TestClient) -> None:
    found = ranking.post("/v1/rerank", json=body(model=None)).json()
    assert (found["model"], [one["index"] for one in found["results"]]) == ("ranker", BEST[:2])


def test_documents_are_cut_to_the_tokens_that_are_asked_for(
    ranking: TestClient, ranker: HashReranker
) -> None:
    found = ranking.post("/v2/rerank", json=body(max_tokens_per_doc=2)).json()["results"]
    cut = ranker.score(QUERY, ["a hill", "where rivers", "the river"])
    assert [one["index"] for one in found] == [2, 1]
    given = np.array([one["relevance_score"] for one in found], np.float32)
    np.testing.assert_array_equal(given, cut[[2, 1]])


@pytest.mark.parametrize(
    ("changed", "status", "message"),
    [
        ({"model": "other"}, 404, "there is no model 'other' here; there are: ranker, minilm"),
        ({"model": "minilm"}, 400, "minilm is an encoder"),
        ({"model": "ranker@0123"}, 400, "its scores would be others"),
        ({"documents": []}, 400, "documents is empty"),
        ({"documents": None}, 400, "documents is missing"),
        ({"documents": ["a", 5]}, 400, "documents[1] must be a string, or an object"),
        ({"documents": ["a", {"image": "x"}]}, 400, "documents[1] must be a string"),
        ({"documents": ["a", ""]}, 400, "text 1 is empty"),
        ({"documents": ["a"] * 10_001}, 413, "10,001 texts"),
        ({"documents": ["b" * 1_048_577]}, 413, "text 0 has 1,048,577 bytes"),
        ({"query": ""}, 400, "the query of text 0 is empty"),
        ({"query": None}, 400, "query is missing"),
        ({"query": "b" * 1_048_577}, 413, "the query has 1,048,577 bytes"),
        ({"top_n": 0}, 400, "top_n must be at least 1"),
        ({"documents": ["word " * 40], "truncation": False}, 400, "text 0 has 45 tokens"),
        ({"instruction": "find"}, 400, "ranker takes no instruction"),
        ({"rank_fields": ["title"]}, 400, 'rank_fields can only be ["text"]'),
        ({"return_embeddings": True}, 400, "gives no embeddings"),
        ({"max_chunks_per_doc": 0}, 400, "max_chunks_per_doc must be at least 1"),
        ({"relevant_spans": {}}, 400, "there is no relevant_spans"),
    ],
)
def test_errors_have_the_form_of_cohere_and_jina(
    changed: dict[str, object], status: int, message: str, ranking: TestClient
) -> None:
    answer = ranking.post("/v2/rerank", json=body(**changed))
    assert answer.status_code == status
    found = answer.json()
    assert message in found["message"]
    assert found["detail"] == found["message"]


def test_a_reranker_gives_no_vectors(ranking: TestClient) -> None:
    answer = ranking.post("/v1/embeddings", json={"model": "ranker", "input": "a"})
    assert answer.status_code == 400
    assert "ranker is a reranker" in answer.json()["error"]["message"]


def test_the_list_of_models_says_which_are_rerankers(
    ranking: TestClient, ranker: HashReranker
) -> None:
    listed = {one["id"]: one for one in ranking.get("/v1/models").json()["data"]}
    assert {name: one["kind"] for name, one in listed.items()} == {
        "minilm": "encoder",
        "ranker": "reranker",
    }
    assert listed["ranker"]["digest"] == ranker.recipe.digest()
    assert listed["ranker"]["max_tokens"] == 24
    assert listed["ranker"]["activation"] == "identity"
