"""A trace goes from a client through `decant serve` to the pass that made its vectors."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from starlette.testclient import TestClient

from decant.embedders import HashEncoder, RemoteEncoder, Role
from decant.serving import ServedModel, create_app
from recorded_spans import Recorded, id_of, parent_of, recorded_spans
from served_encoder import served

SECRET = "a-text-of-a-client"
CALLER = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@pytest.fixture
def spans() -> Iterator[Recorded]:
    with recorded_spans() as found:
        yield found


def test_a_remote_encoder_and_its_server_share_a_trace(spans: Recorded) -> None:
    with served(HashEncoder(dim=16)) as url, RemoteEncoder.connect(url) as encoder:
        spans.clear()
        with trace.get_tracer("test").start_as_current_span("request"):
            encoder.encode([f"text {n}" for n in range(2_000)], role=Role.PASSAGE)
    request, client = spans.one("request"), spans.one("decant.encode")
    answers, passes = spans.named("POST /encode"), spans.named("decant.pass")
    assert parent_of(client) == id_of(request)
    assert len(answers) == client.attributes["decant.batches"]
    assert {parent_of(one) for one in answers} == {id_of(client)}
    assert {parent_of(one) for one in passes} <= {id_of(one) for one in answers}
    assert {one.context.trace_id for one in spans.all} == {request.context.trace_id}
    assert client.attributes["decant.texts"] == 2_000


def test_the_server_continues_the_trace_that_a_request_names(spans: Recorded) -> None:
    app = create_app([ServedModel(name="minilm", encoder=HashEncoder(dim=4))])
    with TestClient(app) as client:
        body = {
            "inputs": [{"data": SECRET, "data_type": "text", "model": "minilm"}],
            "inference": "search",
        }
        client.post("/infer", json=body, headers={"traceparent": CALLER})
        client.post("/embed", json={"inputs": [SECRET]})
        client.post(f"/models/{SECRET}/embed", json={"inputs": [SECRET]})
    infer, embed = spans.one("POST /infer"), spans.named("POST /embed")
    assert f"00-{infer.context.trace_id:032x}-{parent_of(infer):016x}-01" == CALLER
    assert infer.attributes["http.response.status_code"] == 200
    assert infer.kind.name == "SERVER"
    assert [parent_of(one) for one in embed] == [None, None]
    assert embed[1].attributes["http.response.status_code"] == 400
    assert SECRET not in spans.text()


def test_requests_are_logged_at_debug_without_texts(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app([ServedModel(name="minilm", encoder=HashEncoder(dim=4))])
    with TestClient(app) as client, caplog.at_level(logging.DEBUG, "decant"):
        client.post("/embed", json={"inputs": [SECRET]})
    (found,) = [vars(it)["decant"] for it in caplog.records if hasattr(it, "decant")]
    assert (found["event"], found["route"], found["status"]) == ("request", "/embed", 200)
    assert SECRET not in caplog.text


def test_metrics_count_what_qdrant_searches_and_writes() -> None:
    model = ServedModel(name="minilm", encoder=HashEncoder(dim=4))
    with TestClient(create_app([model], collections={"docs": "minilm"})) as client:
        for inference, texts in (("search", 1), ("update", 3), ("update", 2)):
            inputs = [
                {"data": f"t{n}", "data_type": "text", "model": "minilm"} for n in range(texts)
            ]
            client.post("/infer", json={"inputs": inputs, "inference": inference})
        client.post("/infer", json={"inputs": "wrong", "inference": "search"})
        lines = client.get("/metrics").text.splitlines()
    assert 'decant_qdrant_inputs_total{model="minilm",operation="search"} 1.0' in lines
    assert 'decant_qdrant_inputs_total{model="minilm",operation="write"} 5.0' in lines
    assert 'decant_served_collections{collection="docs",model="minilm"} 1.0' in lines


def test_metrics_name_a_bounded_number_of_collections() -> None:
    model = ServedModel(name="minilm", encoder=HashEncoder(dim=4))
    many = {f"docs-{number:04}": "minilm" for number in range(1_000)}
    with TestClient(create_app([model], collections=many)) as client:
        shown = client.get("/metrics").text.splitlines()
    found = [line for line in shown if line.startswith("decant_served_collections{")]
    assert len(found) == 201
    assert sum(float(line.rpartition(" ")[2]) for line in found) == 1_000
