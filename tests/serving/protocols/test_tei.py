"""The routes of text-embeddings-inference."""

from __future__ import annotations

import numpy as np
import pytest
from starlette.testclient import TestClient

from decant.embedders import Output, Role
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
