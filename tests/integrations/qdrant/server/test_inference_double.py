"""The double asks an inference service as a recorded server of 1.19 did, and reads its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from decant.embedders import HashEncoder, Role
from qdrant_double import QdrantDouble, ServiceAnswer, grpc_front
from served_inference import serve_inference

NAME = "notes"
TEXTS = ["the bus stops at noon", "the ferry leaves at seven", "an error E1234 in the log"]


class Recorder:
    """A service that remembers what it was asked, and answers with what it is told."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answer: ServiceAnswer | None = None

    def __call__(self, body: Any) -> ServiceAnswer:
        self.asked.append(body)
        if self.answer is not None:
            return self.answer
        rows = [[float(len(one["data"])), 1.0, 0.0, 0.0] for one in body["inputs"]]
        usage = {"models": {"minilm": {"tokens": 7}}}
        shown = {"embeddings": rows, "usage": usage}
        return ServiceAnswer(body=json.dumps(shown).encode())


@pytest.fixture
def recorder(double: QdrantDouble) -> Recorder:
    recorder = Recorder()
    double.inference = recorder
    return recorder


@pytest.fixture(params=["rest", "grpc"])
def client(request: pytest.FixtureRequest, double: QdrantDouble) -> Iterator[QdrantClient]:
    """Return a client as any user has it, with one collection of four numbers."""
    with grpc_front(double) as port:
        client = QdrantClient(
            url=double.url, check_compatibility=False, cloud_inference=True,
            grpc_port=port, prefer_grpc=request.param == "grpc",
        )  # fmt: skip
        params = models.VectorParams(size=4, distance=models.Distance.COSINE)
        client.create_collection(NAME, {"dense": params})
        yield client
        client.close()


def document(text: str, **options: str) -> models.Document:
    return models.Document(text=text, model="minilm", options=options or None)


def point(number: int, text: str) -> models.PointStruct:
    return models.PointStruct(id=number, vector={"dense": document(text, role="passage")})


def test_texts_of_points_go_to_the_service_once_each_in_one_request(
    client: QdrantClient, recorder: Recorder
) -> None:
    client.upsert(NAME, [point(number, text) for number, text in enumerate(TEXTS + TEXTS)])
    (asked,) = recorder.asked
    assert asked["inference"] == "update"
    assert asked["token"] is None
    inputs = sorted(asked["inputs"], key=lambda one: str(one["data"]))
    assert inputs == [
        {"data": text, "data_type": "text", "model": "minilm", "options": {"role": "passage"}}
        for text in sorted(TEXTS)
    ]
    assert client.count(NAME).count == 6


def test_the_text_of_a_query_goes_to_the_service_as_a_search(
    client: QdrantClient, recorder: Recorder
) -> None:
    client.upsert(NAME, [point(1, "four")])
    (found,) = client.query_points(NAME, query=document("four"), using="dense").points
    assert found.score == pytest.approx(1.0)
    assert recorder.asked[-1]["inference"] == "search"
    assert [one["data"] for one in recorder.asked[-1]["inputs"]] == ["four"]


def test_several_queries_of_one_request_are_one_request_to_the_service(
    client: QdrantClient, recorder: Recorder
) -> None:
    client.upsert(NAME, [point(1, "four")])
    requests = [models.QueryRequest(query=document(text), using="dense", limit=1) for text in TEXTS]
    assert len(client.query_batch_points(NAME, requests)) == len(TEXTS)
    assert len(recorder.asked) == 2


def test_vectors_equal_those_of_the_encoder_behind_decant_serve(
    client: QdrantClient, double: QdrantDouble
) -> None:
    encoder = HashEncoder(4)
    with serve_inference({"minilm": encoder}) as service:
        double.inference = service
        client.upsert(NAME, [point(number, text) for number, text in enumerate(TEXTS)])
    held = client.retrieve(NAME, [0, 1, 2], with_vectors=True)
    by_id = {one.id: one.vector for one in held}
    expected = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    for number in range(3):
        vector = by_id[number]
        assert isinstance(vector, dict)
        np.testing.assert_allclose(np.asarray(vector["dense"]), expected[number], atol=1e-6)


def test_what_the_service_counted_comes_back(double: QdrantDouble, recorder: Recorder) -> None:
    client = QdrantClient(url=double.url, check_compatibility=False, cloud_inference=True)
    params = models.VectorParams(size=4, distance=models.Distance.COSINE)
    client.create_collection(NAME, {"dense": params})
    answer = client.http.search_api.query_points(
        NAME, query_request=models.QueryRequest(query=document("four"), using="dense")
    )
    assert answer.usage is not None
    assert answer.usage.inference is not None
    assert answer.usage.inference.models["minilm"].tokens == 7
    assert recorder.asked
    client.close()


FAULTS = [
    (ServiceAnswer(status=400, body=b'{"error": "no model x"}'), 400, "validation failed: no mod"),
    (ServiceAnswer(status=401, body=b'{"error": "key"}'), 500, "Authentication failed for inferen"),
    (ServiceAnswer(status=422, body=b"{}"), 400, "can't process request"),
    (ServiceAnswer(status=500, body=b"{}"), 500, "Inference service error"),
    (ServiceAnswer(body=b'{"embeddings": [], "usage": null}'), 500, "returned no vectors"),
    (ServiceAnswer(body=b'{"embeddings": [[1, 2, 3, 4, 5]]}'), 400, "expected dim: 4, got 5"),
    (ServiceAnswer(body=b'{"embeddings": [[1, 2, 3, NaN]]}'), 500, "Failed to parse"),
]


@pytest.mark.parametrize(("answer", "status", "said"), FAULTS)
def test_a_fault_of_the_service_has_the_status_and_the_sentence_of_the_server(
    double: QdrantDouble, recorder: Recorder, answer: ServiceAnswer, status: int, said: str
) -> None:
    client = QdrantClient(url=double.url, check_compatibility=False, cloud_inference=True)
    params = models.VectorParams(size=4, distance=models.Distance.COSINE)
    client.create_collection(NAME, {"dense": params})
    recorder.answer = answer
    with pytest.raises(UnexpectedResponse) as caught:
        client.upsert(NAME, [point(1, "four")])
    assert caught.value.status_code == status
    assert said in json.loads(caught.value.content)["status"]["error"]
    assert client.count(NAME).count == 0
    client.close()
