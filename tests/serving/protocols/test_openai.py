"""OpenAI's routes, as its client and those of frameworks call them."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from starlette.testclient import TestClient

from decant.embedders import HashEncoder, Role
from decant.embedders.encoding import cut
from instructed_encoder import InstructedEncoder

TEXTS = ["one text", "another one"]


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_vectors_are_those_of_encode_bit_for_bit(
    encoding: str | None, client: TestClient, plain: HashEncoder
) -> None:
    body = {"model": "minilm", "input": TEXTS} | ({"encoding_format": encoding} if encoding else {})
    answer = client.post("/v1/embeddings", json=body).json()
    rows = [one["embedding"] for one in answer["data"]]
    if encoding == "base64":
        found = np.stack([np.frombuffer(base64.b64decode(row), "<f4") for row in rows])
    else:
        found = np.array(rows, np.float32)
    assert found.tobytes() == plain.encode(TEXTS, role=Role.QUERY).dense.tobytes()
    assert [one["index"] for one in answer["data"]] == [0, 1]
    assert answer["object"] == "list"
    assert answer["model"] == "minilm"
    assert answer["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


@pytest.mark.parametrize(
    ("said", "role"),
    [
        ({"model": "full:query"}, Role.QUERY),
        ({"model": "full", "input_type": "search_document"}, Role.PASSAGE),
        ({"model": "full", "input_type": "query"}, Role.QUERY),
        ({"model": "full:passage", "input_type": "document"}, Role.PASSAGE),
    ],
)
def test_the_role_comes_from_the_name_or_from_input_type(
    said: dict[str, str], role: Role, client: TestClient, full: InstructedEncoder
) -> None:
    body = {"input": "a text", "dimensions": 4, "user": "me", **said}
    answer = client.post("/v1/embeddings", json=body).json()
    expected = cut(full.encode(["a text"], role=role).dense, dim=4, normalize=True)
    found = np.array([answer["data"][0]["embedding"]], np.float32)
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"model": "full", "input": "a"}, "ask for full:query or full:passage"),
        ({"model": "full:query", "input": "a", "input_type": "passage"}, "leave one out"),
        ({"model": "minilm", "input": [1, 2]}, "check_embedding_ctx_length=False"),
        ({"model": "minilm", "input": [[1], [2]]}, "check_embedding_ctx_length=False"),
        ({"model": "minilm", "input": ["a", 2]}, "a string or a list of strings"),
        ({"model": "minilm", "input": []}, "input is empty"),
        ({"model": "minilm", "input": ""}, "text 0 is empty"),
        ({"model": "minilm"}, "input is missing"),
        ({"model": "full:sparse", "input": "a"}, "ask /infer"),
        ({"model": "minilm", "input": "a", "dimensions": 0}, "dimensions must be at least 1"),
        ({"model": "gpt", "input": "a"}, "there are: full, minilm"),
    ],
)
def test_errors_have_openais_form(body: object, message: str, client: TestClient) -> None:
    answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert message in error["message"]
    assert (error["type"], error["code"]) == ("invalid_request_error", 400)


def test_models_are_listed_with_what_a_client_has_to_know(
    client: TestClient, full: InstructedEncoder
) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    by_name = {one["id"]: one for one in listed["data"]}
    assert [*by_name] == ["full", "minilm"]
    assert by_name["full"]["digest"] == full.recipe.digest()
    assert by_name["full"]["vectors"] == ["dense", "sparse", "tokens"]
    assert by_name["minilm"]["vectors"] == ["dense"]
    assert [one["needs_role"] for one in by_name.values()] == [True, False]
