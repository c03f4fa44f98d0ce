"""``POST /infer`` as a Qdrant server calls it, against what the encoder gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from decant.embedders import HashEncoder, Output, Role
from decant.embedders.encoding import cut
from instructed_encoder import InstructedEncoder

if TYPE_CHECKING:
    from httpx2 import Response


@pytest.fixture(scope="module")
def recorded(data: Path) -> list[dict[str, Any]]:
    """Return the requests that a Qdrant 1.19 server was recorded to send."""
    path = data.parent / "live" / "inference.jsonl"
    if not path.is_file():
        pytest.skip(f"no recorded requests at {path}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def item(text: str, model: str = "full", **options: object) -> dict[str, object]:
    """Return one input as Qdrant sends it."""
    return {"data": text, "data_type": "text", "model": model, "options": options or None}


def infer(client: TestClient, *items: dict[str, object], inference: str) -> Response:
    """Send a request as Qdrant does."""
    body = {"inputs": [*items], "inference": inference, "token": None}
    return client.post("/infer", json=body)


def test_recorded_requests_are_answered_as_qdrant_reads_answers(
    client: TestClient, plain: HashEncoder, recorded: list[dict[str, Any]]
) -> None:
    for request in recorded:
        body = request["body"]
        answer = client.post(request["path"], json=body, headers=request["headers"])
        if any(one["data_type"] != "text" for one in body["inputs"]):
            assert answer.status_code == 400
            assert "is an image" in answer.json()["error"]
            continue
        assert answer.status_code == 200
        role = Role.PASSAGE if body["inference"] == "update" else Role.QUERY
        texts = [one["data"] for one in body["inputs"]]
        found = np.array(answer.json()["embeddings"], np.float32)
        assert found.tobytes() == plain.encode(texts, role=role).dense.tobytes()
        words = sum(len(plain.tokenizer.encode(text).ids) for text in texts)
        assert answer.json()["usage"] == {"models": {"minilm": {"tokens": words}}}


@pytest.mark.parametrize(("inference", "role"), [("search", "query"), ("update", "passage")])
def test_what_qdrant_does_decides_the_prompt(
    inference: str, role: str, client: TestClient, full: InstructedEncoder
) -> None:
    answer = infer(client, item("a text"), inference=inference)
    expected = full.encode(["a text"], role=Role(role)).dense
    assert np.array(answer.json()["embeddings"], np.float32).tobytes() == expected.tobytes()


def test_options_overrule_the_name_and_the_name_what_qdrant_does(
    client: TestClient, full: InstructedEncoder
) -> None:
    answer = infer(
        client,
        item("a text", "full:query"),
        item("a text", "full:query", role="passage"),
        item("a text", role="query", instruction="find it"),
        item("a text", dim=4),
        inference="update",
    )
    query, passage = (full.encode(["a text"], role=role).dense for role in Role)
    told = full.encode(["a text"], role=Role.QUERY, instruction="find it").dense
    short = cut(passage, dim=4, normalize=True)
    found = [np.array(one, np.float32) for one in answer.json()["embeddings"]]
    for one, expected in zip(found, (query, passage, told, short), strict=True):
        assert one.tobytes() == expected[0].tobytes()


def test_dense_sparse_and_token_vectors_of_a_text_come_together(
    client: TestClient, full: InstructedEncoder
) -> None:
    names = ("full", "full:sparse", "full:tokens")
    answer = infer(client, *(item("a a b", name) for name in names), inference="update").json()
    alone = full.encode(
        ["a a b"], role=Role.PASSAGE, outputs=[Output.SPARSE, Output.TOKEN_EMBEDDINGS]
    )
    assert alone.sparse is not None
    assert alone.token_embeddings is not None
    dense, sparse, tokens = answer["embeddings"]
    assert np.array_equal(np.array(dense, np.float32), alone.dense[0])
    indices, values = alone.sparse[0]
    assert sparse["indices"] == indices.tolist()
    assert np.array_equal(np.array(sparse["values"], np.float32), values)
    assert np.array_equal(np.array(tokens, np.float32), alone.token_embeddings[0])
    assert answer["usage"] == {"models": {"full": {"tokens": 5}}}


def test_several_models_are_asked_in_one_request(client: TestClient) -> None:
    answer = infer(client, item("a"), item("a", "minilm"), inference="search").json()
    assert [len(one) for one in answer["embeddings"]] == [8, 4]
    assert answer["usage"]["models"] == {"full": {"tokens": 3}, "minilm": {"tokens": 1}}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (item("a", "bge"), "there is no model 'bge' here; there are: full, minilm"),
        (item("a", "full@00"), "the request wants '00'"),
        (item("a", "minilm:sparse"), "minilm has no ':sparse'"),
        (item(""), "text 1 is empty"),
        (item("a", dim=3), "trained to be cut to 4 up"),
        (item("a", "minilm", dim=2), "values, and only that; asked for 2"),
        (item("a", dim=True), "inputs[1].options.dim must be a whole number, got true or false"),
        (item("a", role="both"), "inputs[1].options.role must be one of query, passage"),
        (item("a", instruction="find"), "an instruction is for queries"),
        (item("a", "minilm:query", instruction="find"), "minilm takes no instruction"),
        (item("word " * 40, truncate=False), "text 1 has 40 tokens"),
        (item("a", size=3), "there is no inputs[1].options.size; known are role, instruction"),
        ({**item("a"), "data_type": "object"}, "inputs[1] is an object"),
        ({**item("a"), "data": 5}, "inputs[1].data must be a string, got a whole number"),
        ({"data_type": "text"}, "inputs[1].model is missing"),
    ],
)
def test_what_cannot_be_answered_is_a_400_that_says_why(
    wrong: dict[str, object], message: str, client: TestClient
) -> None:
    answer = infer(client, item("fine"), wrong, inference="update")
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "must be an object, got a list"),
        ({"inputs": []}, "inference is missing"),
        ({"inputs": [], "inference": "update"}, "inputs is empty"),
        ({"inputs": {}, "inference": "update"}, "inputs must be a list, got an object"),
        ({"inputs": [5], "inference": "update"}, "inputs[0] must be an object"),
        ({"inputs": [item("a")], "inference": "delete"}, "must be one of update, search"),
        ({"inputs": [item("a")], "inference": "update", "more": 1}, "there is no more"),
    ],
)
def test_other_bodies_are_a_400(body: object, message: str, client: TestClient) -> None:
    answer = client.post("/infer", json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]
