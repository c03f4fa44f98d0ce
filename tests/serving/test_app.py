"""The application: keys, limits, errors that tell nothing, and what it says of itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route
from starlette.testclient import TestClient

from decant.embedders import HashEncoder, Vectors
from decant.serving import (
    ApiKeys,
    QueueSettings,
    ServedModel,
    ServerSettings,
    TextLimits,
    create_app,
)

KEY, OTHER = "a-key-of-some-length", "another-key-of-some-length"
SECRET = "the-secret-of-a-client"
OPEN = {"/health", "/ready", "/openapi.json"}
BODIES: dict[str, dict[str, object]] = {
    "/infer": {
        "inputs": [{"data": SECRET, "data_type": "text", "model": "minilm"}],
        "inference": "update",
    },
    "/v1/embeddings": {"model": "minilm", "input": SECRET},
    "/embed": {"inputs": SECRET},
    "/models/minilm/embed": {"inputs": SECRET},
    "/encode": {
        "texts": [SECRET],
        "role": "passage",
        "outputs": [],
        "digest": HashEncoder(dim=4).recipe.digest(),
    },
}


class Broken(HashEncoder):
    """An encoder that fails and quotes its texts."""

    def encode(self, texts: Iterable[str], **_: Any) -> Vectors:
        raise ValueError(f"cannot encode {[*texts]}")


def served(encoder: HashEncoder | None = None, **options: Any) -> TestClient:
    """Return a client of a server of one model."""
    model = ServedModel(name="minilm", encoder=encoder or HashEncoder(dim=4))
    return TestClient(create_app([model], **options))


@pytest.fixture(scope="module")
def shared() -> Iterator[TestClient]:
    """Return a client of a server without keys."""
    with served() as found:
        yield found


@pytest.fixture(scope="module")
def guarded() -> Iterator[TestClient]:
    """Return a client of a server that takes two keys."""
    with served(keys=ApiKeys.of([KEY, OTHER])) as found:
        yield found


def test_a_key_is_asked_for_on_every_route_that_is_not_open(guarded: TestClient) -> None:
    for path, methods in routes(guarded):
        for method in methods:
            answer = guarded.request(method, path, json=BODIES.get(path, {"inputs": SECRET}))
            assert answer.status_code == (200 if path in OPEN else 401), (method, path)
            if path not in OPEN:
                assert answer.headers["www-authenticate"] == "Bearer"
                assert SECRET not in answer.text


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {KEY}"}, {"X-Api-Key": OTHER}], ids=["bearer", "header"]
)
def test_a_right_key_opens_every_route(headers: dict[str, str], guarded: TestClient) -> None:
    for path, body in BODIES.items():
        assert guarded.post(path, json=body, headers=headers).status_code == 200
    for path in ("/metrics", "/v1/models", "/info", "/encoder", "/tokenizer.json"):
        assert guarded.get(path, headers=headers).status_code == 200


def test_qdrant_sends_its_key_in_the_body(guarded: TestClient) -> None:
    body = BODIES["/infer"]
    assert guarded.post("/infer", json={**body, "token": KEY}).status_code == 200
    for token in (None, "wrong", 5):
        answer = guarded.post("/infer", json={**body, "token": token})
        assert answer.status_code == 401
        assert "API key" in answer.json()["error"]
    # Who has no key is told nothing of the models.
    unknown = guarded.post("/infer", json={"inputs": [{"model": "x"}], "inference": "update"})
    assert unknown.status_code == 401


@pytest.mark.parametrize("path", BODIES)
def test_errors_of_an_encoder_tell_nobody_a_text(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with served(Broken(dim=4)) as client, caplog.at_level(logging.DEBUG):
        answer = client.post(path, json=BODIES[path])
    assert answer.status_code == 500
    assert SECRET not in answer.text
    assert SECRET not in caplog.text
    assert "a request failed: ValueError at" in caplog.text


def json_values() -> st.SearchStrategy[object]:
    """Return any JSON, and often something near a right body."""
    keys = st.sampled_from(
        ["inputs", "input", "model", "data", "data_type", "inference", "options", "truncate", "dim"]
    )
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5)
        | st.sampled_from(["minilm", "text", "update", "minilm:query"])
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(keys | st.text(max_size=3), inner, max_size=4)
        ),
        max_leaves=12,
    )


@given(st.sampled_from([*BODIES]), json_values())
def test_no_json_is_a_fault_of_the_server(shared: TestClient, path: str, body: object) -> None:
    content = json.dumps(body).encode()
    answer = shared.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400)
    assert answer.status_code == 200 or "error" in answer.json()


@given(st.sampled_from([*BODIES]), st.binary(max_size=60))
def test_no_bytes_are_a_fault_of_the_server(shared: TestClient, path: str, body: bytes) -> None:
    answer = shared.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "body", [b'{"inputs": NaN}', b'{"inputs": "\xff"}', b"[" * 100_000, b'"\\ud800"', b"", b"{"]
)
def test_broken_json_is_a_400_that_does_not_repeat_it(body: bytes, shared: TestClient) -> None:
    answer = shared.post("/infer", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert len(answer.text) < 300


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_page_of_another_site_can_send_is_refused(kind: str, shared: TestClient) -> None:
    answer = shared.post("/embed", content=b'{"inputs": "a"}', headers={"Content-Type": kind})
    assert answer.status_code == 415
    headers = {"Origin": "https://other.example", "Access-Control-Request-Method": "POST"}
    asked = shared.options("/embed", headers=headers)
    assert asked.status_code == 405
    assert not [name for name in asked.headers if name.startswith("access-control")]


def test_bodies_are_limited_whether_their_length_is_announced_or_not() -> None:
    with served(settings=ServerSettings(body_bytes=100)) as client:
        headers = {"Content-Type": "application/json"}
        for content in (b" " * 101, iter([b" " * 60, b" " * 60])):
            answer = client.post("/embed", content=content, headers=headers)
            assert answer.status_code == 413
            assert "more than 100 bytes" in answer.json()["error"]
        assert client.post("/embed", json={"inputs": "a"}).status_code == 200


def test_two_megabytes_of_one_word_are_refused_and_half_of_it_is_embedded(
    shared: TestClient,
) -> None:
    assert shared.post("/embed", json={"inputs": "a" * 2_000_000}).status_code == 413
    assert shared.post("/embed", json={"inputs": "a" * 1_000_000}).status_code == 200


def test_too_many_texts_or_tokens_are_a_413() -> None:
    settings = ServerSettings(limits=TextLimits(texts=2), queue=QueueSettings(capacity=5))
    with served(settings=settings) as client:
        assert client.post("/embed", json={"inputs": ["a"] * 3}).status_code == 413
        assert client.post("/embed", json={"inputs": "a b c d e f"}).status_code == 413
        assert client.post("/embed", json={"inputs": ["a b", "c d e"]}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/nowhere", "/models", "/models/minilm"])
def test_other_paths_are_a_404(path: str, shared: TestClient) -> None:
    assert shared.get(path).status_code == 404


def test_the_server_is_ready_while_it_runs() -> None:
    client = served()
    assert client.get("/health").text == "ok"
    assert client.get("/ready").status_code == 503
    with client:
        assert client.get("/ready").text == "ready"
    assert client.get("/ready").status_code == 503


def test_metrics_count_requests_texts_and_tokens() -> None:
    with served() as client:
        client.post("/embed", json={"inputs": ["one two", "three"]})
        client.post("/embed", json={"inputs": 5})
        shown = client.get("/metrics")
    assert shown.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = shown.text.splitlines()
    for line in (
        'decant_requests_total{route="/embed",status="200"} 1.0',
        'decant_requests_total{route="/embed",status="400"} 1.0',
        'decant_texts_total{lane="short",model="minilm"} 2.0',
        'decant_tokens_total{lane="short",model="minilm"} 3.0',
        'decant_waiting_tokens{lane="long",model="minilm"} 0.0',
    ):
        assert line in lines


def test_labels_of_metrics_are_never_what_a_client_names(shared: TestClient) -> None:
    shared.post(f"/models/{SECRET}/embed", json={"inputs": "a"})
    shared.get(f"/{SECRET}")
    assert SECRET not in shared.get("/metrics").text


def test_the_openapi_document_has_every_route(shared: TestClient) -> None:
    document = shared.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    documented = {
        (path, method.upper())
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert documented == {(path, method) for path, methods in paths(shared) for method in methods}
    named = references(document)
    assert named == set(document["components"]["schemas"])


def references(value: object) -> set[str]:
    """Return the names of all schemas that a document refers to."""
    match value:
        case {"$ref": str(reference)}:
            return {reference.removeprefix("#/components/schemas/")}
        case dict():
            return set().union(*(references(item) for item in value.values()), set())
        case list():
            return set().union(*(references(item) for item in value), set())
        case _:
            return set()


def paths(client: TestClient) -> Iterator[tuple[str, set[str]]]:
    """Yield the path of each route, as the document writes it, and its methods."""
    for route in client.app.routes:  # type: ignore[attr-defined]
        assert isinstance(route, Route)
        yield route.path.replace(":path", ""), (route.methods or set()) - {"HEAD"}


def routes(client: TestClient) -> Iterator[tuple[str, set[str]]]:
    """Yield the path of each route, with a model in it, and its methods."""
    for path, methods in paths(client):
        yield path.replace("{model}", "minilm"), methods
