"""decant's own protocol on the wire: facts, tokenizer, vectors, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from tokenizers import Tokenizer

from decant.embedders import HashEncoder, ParityError, Recipe, Role, Vectors
from decant.serving import QueueSettings, ServedModel, ServerSettings, create_app
from instructed_encoder import InstructedEncoder

TEXTS = ["a river", "two rivers and a hill"]


def body(encoder: HashEncoder, **changed: object) -> dict[str, object]:
    """Return a request for vectors."""
    known: dict[str, object] = {
        "texts": TEXTS,
        "role": "passage",
        "outputs": [],
        "digest": encoder.recipe.digest(),
    }
    return known | changed


def arrays(answer: Response) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of an answer."""
    assert answer.status_code == 200, answer.text
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def test_facts_say_what_an_encoder_is(lone: TestClient, full: InstructedEncoder) -> None:
    facts = lone.get("/encoder").json()
    assert (facts["protocol"], facts["name"], facts["dim"]) == (1, "full", 8)
    assert Recipe.from_json(json.dumps(facts["recipe"])) == full.recipe
    assert facts["digest"] == full.recipe.digest()
    assert facts["max_text_tokens"] == {role: full.max_text_tokens(role) for role in Role}
    assert facts["outputs"] == ["sparse", "token_embeddings"]
    assert facts["limits"] == {
        "texts": 10_000,
        "text_bytes": 1_048_576,
        "body_bytes": 33_554_432,
        "tokens": 524_288,
        "pass_tokens": 2_048,
    }
    for golden in facts["golden"]:
        wanted = full.encode([golden["text"]], role=golden["role"]).dense[0]
        np.testing.assert_array_equal(np.array(golden["vector"], np.float32), wanted)
    assert {golden["role"] for golden in facts["golden"]} == {*Role}


def test_the_tokenizer_is_sent_once(lone: TestClient, full: InstructedEncoder) -> None:
    answer = lone.get("/tokenizer.json")
    sha256 = hashlib.sha256(answer.content).hexdigest()
    assert answer.headers["etag"] == f'"{sha256}"'
    assert lone.get("/encoder").json()["tokenizer"] == sha256
    found = Tokenizer.from_str(answer.text).encode("A river!").tokens
    assert found == full.tokenizer.encode("A river!").tokens
    again = lone.get("/tokenizer.json", headers={"If-None-Match": f'"{sha256}"'})
    assert (again.status_code, again.content) == (304, b"")


def test_vectors_are_little_endian_numbers_of_numpy(
    lone: TestClient, full: InstructedEncoder
) -> None:
    asked = body(full, outputs=["sparse", "token_embeddings"], role="query", instruction="find")
    answer = lone.post("/encode", json=asked)
    assert answer.headers["content-type"] == "application/zip"
    found = arrays(answer)
    wanted = full.encode(
        TEXTS,
        role=Role.QUERY,
        instruction="find",
        outputs=["sparse", "token_embeddings"],  # type: ignore[list-item]
    )
    assert wanted.sparse is not None
    assert wanted.token_embeddings is not None
    assert found["dense"].dtype == np.dtype("<f4")
    np.testing.assert_array_equal(found["dense"], wanted.dense)
    np.testing.assert_array_equal(found["sparse_starts"], wanted.sparse.starts)
    np.testing.assert_array_equal(found["sparse_indices"], wanted.sparse.indices)
    np.testing.assert_array_equal(found["sparse_values"], wanted.sparse.values)
    starts = found["token_starts"].tolist()
    assert starts == [0, *np.cumsum([len(rows) for rows in wanted.token_embeddings]).tolist()]
    np.testing.assert_array_equal(found["token_values"], np.concatenate(wanted.token_embeddings))


def test_one_of_several_models_is_asked_below_its_name(
    client: TestClient, full: InstructedEncoder, plain: HashEncoder
) -> None:
    for name, encoder in (("full", full), ("minilm", plain)):
        answer = client.post(f"/models/{name}/encode", json=body(encoder))
        wanted = encoder.encode(TEXTS, role=Role.PASSAGE).dense
        np.testing.assert_array_equal(arrays(answer)["dense"], wanted)
        assert client.get(f"/models/{name}/encoder").json()["name"] == name
    for path in ("/encoder", "/tokenizer.json"):
        answer = client.get(path)
        assert answer.status_code == 400
        assert answer.json()["kind"] == "request"
        assert "full, minilm" in answer.json()["error"]


@pytest.mark.parametrize(
    ("changed", "status", "kind", "message"),
    [
        ({"digest": "0123456789abcdef"}, 409, "other_model", "has the recipe"),
        ({"graph": "ab" * 32}, 409, "other_model", "another graph"),
        ({"digest": None}, 400, "request", "digest is missing"),
        ({"texts": []}, 400, "request", "texts is empty"),
        ({"texts": ["a", 5]}, 400, "request", "list of strings"),
        ({"texts": ["a", ""], "first": 40}, 400, "text", "text 41 is empty"),
        ({"texts": ["a"] * 10_001}, 413, "too_large", "10,001 texts"),
        ({"texts": ["b" * 1_048_577], "first": 7}, 413, "too_large", "text 7 has"),
        ({"role": "document"}, 400, "request", "role must be one of"),
        ({"role": None}, 400, "request", "role is missing"),
        ({"outputs": ["dense"]}, 400, "request", "outputs must be"),
        ({"outputs": None}, 400, "request", "outputs is missing"),
        ({"outputs": [["sparse"]]}, 400, "request", "outputs must be"),
        ({"outputs": ["soft_tokens"]}, 400, "request", "gives no soft_tokens"),
        ({"instruction": "find"}, 400, "instruction", "is for queries"),
        ({"instruction": " ", "role": "query"}, 400, "instruction", "is blank"),
        ({"first": -1}, 400, "request", "first must be at least 0"),
        ({"first": True}, 400, "request", "first must be a whole number"),
        ({"strange": 1}, 400, "request", "no strange"),
    ],
)
def test_what_is_refused_says_what_kind_of_refusal_it_is(
    changed: dict[str, object],
    status: int,
    kind: str,
    message: str,
    lone: TestClient,
    full: InstructedEncoder,
) -> None:
    answer = lone.post("/encode", json=body(full, **changed))
    assert (answer.status_code, answer.json()["kind"]) == (status, kind)
    assert message in answer.json()["error"]


def test_the_texts_of_a_large_request_are_read_in_passes_and_stay_in_order() -> None:
    encoder = InstructedEncoder()
    texts = [f"text number {number}" for number in range(200)]
    settings = ServerSettings(queue=QueueSettings(pass_tokens=16))
    app = create_app([ServedModel(name="m", encoder=encoder)], settings=settings)
    with TestClient(app) as client:
        answer = client.post("/encode", json=body(encoder, texts=texts, outputs=["sparse"]))
        assert client.get("/encoder").json()["limits"]["pass_tokens"] == 16
    wanted = encoder.encode(texts, role=Role.PASSAGE).dense
    np.testing.assert_array_equal(arrays(answer)["dense"], wanted)


class NotFinite(HashEncoder):
    """An encoder whose graph is damaged for some texts."""

    def encode(self, texts: Iterable[str], **options: Any) -> Vectors:
        given = list(texts)
        if "secret" in given:
            raise ParityError("the vector of text 0 holds NaN or infinity: secret")
        return super().encode(given, **options)


def test_a_model_that_gives_no_numbers_is_said_to_and_nothing_of_the_text() -> None:
    encoder = NotFinite(dim=4)
    with TestClient(create_app([ServedModel(name="m", encoder=encoder)])) as client:
        answer = client.post("/encode", json=body(encoder, texts=["secret"]))
    assert (answer.status_code, answer.json()["kind"]) == (500, "not_finite")
    assert "secret" not in answer.text
