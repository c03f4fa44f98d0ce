"""The routes of text-embeddings-inference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from starlette.testclient import TestClient

from decant.embedders import HashReranker, Output, RerankRecipe, Role, ScoreActivation
from decant.serving import ServedReranker, create_app
from instructed_encoder import InstructedEncoder

TEXTS = ["one text", "another one one"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/embed", {"prompt_name": "query"}),
        ("/models/full/embed", {"prompt_name": "query"}),
        ("/models/full:query/embed", {"truncate": True, "normalize": True}),
    ],
)
def test_the_only_model_needs_no_name(
    path: str, said: dict[str, object], lone: TestClient, full: InstructedEncoder
) -> None:
    answer = lone.post(path, json={"inputs": TEXTS, **said})
    found = np.array(answer.json(), np.float32)
    assert found.tobytes() == full.encode(TEXTS, role=Role.QUERY).dense.tobytes()


def test_sparse_vectors_are_lists_of_indices_with_values(
    client: TestClient, full: InstructedEncoder
) -> None:
    answer = client.post("/models/full:passage/embed_sparse", json={"inputs": TEXTS[1]})
    sparse = full.encode(TEXTS[1:], role=Role.PASSAGE, outputs=[Output.SPARSE]).sparse
    assert sparse is not None
    (row,) = answer.json()
    assert [one["index"] for one in row] == sparse.indices.tolist()
    assert np.array_equal(np.array([one["value"] for one in row], np.float32), sparse.values)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/embed", {"inputs": "a"}, "several models: full, minilm; say which one in the path"),
        ("/models/bge/embed", {"inputs": "a"}, "there are: full, minilm"),
        ("/models/full/embed", {"inputs": "a"}, "ask for full:query or full:passage"),
        ("/models/full:query/embed", {"inputs": [1]}, "a string or a list of strings"),
        ("/models/full:query/embed", {"inputs": "a", "normalize": False}, "unit length only"),
        ("/models/minilm/embed_sparse", {"inputs": "a"}, "minilm gives no sparse vectors"),
        ("/models/full:query:sparse/embed", {"inputs": "a"}, "the path asks for sparse"),
        (
            "/models/minilm/embed",
            {"inputs": "a", "truncation_direction": "Left"},
            "can only be right",
        ),
        (
            "/models/full:query/embed",
            {"inputs": "word " * 40, "truncate": False},
            "text 0 has 40 tokens",
        ),
    ],
)
def test_errors_have_the_form_of_tei(
    path: str, body: object, message: str, client: TestClient
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert answer.json()["error_type"] == "validation"


def test_info_tells_of_the_model(lone: TestClient, client: TestClient) -> None:
    info = lone.get("/info").json()
    assert info == client.get("/models/full/info").json()
    assert info["model_id"] == "hash"
    assert info["max_input_length"] == 32
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}


RANKED = ["a hill", "where rivers run the river runs", "the river"]
ASKED = {"query": "where does the river run", "texts": RANKED}


@pytest.mark.parametrize("path", ["/rerank", "/models/ranker/rerank"])
@pytest.mark.parametrize("said", [{}, {"raw_scores": True}, {"return_text": True}])
def test_texts_come_in_the_order_of_their_scores(
    path: str, said: dict[str, object], ranking: TestClient, ranker: HashReranker
) -> None:
    answer = ranking.post(path, json={**ASKED, **said, "truncate": True})
    assert answer.status_code == 200, answer.text
    found, scores = answer.json(), ranker.score(ASKED["query"], RANKED)  # type: ignore[arg-type]
    assert [one["index"] for one in found] == [1, 2, 0]
    given = np.array([one["score"] for one in found], np.float32)
    np.testing.assert_array_equal(given, scores[[1, 2, 0]])
    texts = [one.get("text") for one in found]
    assert texts == ([RANKED[at] for at in (1, 2, 0)] if "return_text" in said else [None] * 3)


def test_raw_scores_leave_the_activation_out() -> None:
    reranker = SquashedReranker()
    app = create_app([ServedReranker(name="r", reranker=reranker)])
    with TestClient(app) as client:
        raw, scores = (
            [
                one["score"]
                for one in client.post("/rerank", json={**ASKED, "raw_scores": flag}).json()
            ]
            for flag in (True, False)
        )
        assert client.get("/info").json()["model_type"].keys() == {"reranker"}
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-np.array(raw))), atol=1e-7)
    assert raw != scores


class SquashedReranker(HashReranker):
    """A reranker whose recipe has a sigmoid."""

    @property
    def recipe(self) -> RerankRecipe:
        """The same with an activation."""
        return replace(super().recipe, activation=ScoreActivation.SIGMOID)


@pytest.mark.parametrize(
    ("path", "changed", "status", "message"),
    [
        ("/models/other/rerank", {}, 404, "there is no model 'other' here"),
        ("/models/minilm/rerank", {}, 400, "minilm is an encoder"),
        ("/rerank", {"texts": []}, 400, "texts is empty"),
        ("/rerank", {"texts": [1]}, 400, "texts must be a list of strings"),
        ("/rerank", {"texts": "a"}, 400, "texts must be a list"),
        ("/rerank", {"query": None}, 400, "query is missing"),
        ("/rerank", {"truncation_direction": "Left"}, 400, "can only be right"),
        (
            "/rerank",
            {"texts": ["a", "word " * 40], "truncate": False},
            400,
            "text 1 has 45 tokens with its query",
        ),
    ],
)
def test_errors_of_a_reranker_have_the_form_of_tei(
    path: str, changed: dict[str, object], status: int, message: str, ranking: TestClient
) -> None:
    answer = ranking.post(path, json={**ASKED, **changed})
    assert answer.status_code == status
    assert message in answer.json()["error"]
    assert answer.json()["error_type"] == "validation"


def test_info_tells_of_each_of_several_models(ranking: TestClient) -> None:
    info = ranking.get("/models/ranker/info").json()
    assert (info["served_model_name"], info["max_input_length"]) == ("ranker", 24)
    assert info["model_type"] == {
        "reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    }
    assert ranking.get("/models/minilm/info").json()["model_type"].keys() == {"embedding"}
    assert "several models: ranker, minilm" in ranking.get("/info").json()["error"]
    assert ranking.post("/embed", json={"inputs": "a"}).status_code == 200, "the only encoder"
