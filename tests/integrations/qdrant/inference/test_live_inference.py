"""A real Qdrant server asks decant for vectors: stored, searched, and each fault as users see it.

``tests/support/live_inference.py`` says how the server is started.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from decant.embedders import CollectionMismatch, HashEncoder, Output, Prompt, Role, StoreError, load
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    Record,
    SearchMode,
    ServerInference,
    Store,
    Words,
    check_served_collections,
)
from live_inference import InferenceRelay, decant_serve, live_client, relay_inference
from live_server import LIVE, connect_live
from qdrant_double import ServiceAnswer
from served_inference import serve_inference

TEXTS = ["the bus stops at noon", "the ferry leaves at seven", "an error E1234 in the log"]
WIDTH = 16


@pytest.fixture(params=LIVE)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def relay() -> Iterator[InferenceRelay]:
    with relay_inference() as relay:
        yield relay


@pytest.fixture(scope="module")
def model() -> HashEncoder:
    """Return a model with all kinds of vectors, whose queries and passages differ."""
    prompt = Prompt(prefix="query: ")
    return HashEncoder(WIDTH, query_prompt=prompt, max_tokens=32, sparse=True, tokens=True)


@pytest.fixture
def served(relay: InferenceRelay, model: HashEncoder) -> Iterator[InferenceRelay]:
    """Return the relay with the application of ``decant serve`` behind it, and that model."""
    with serve_inference({"hash": model}) as service:
        relay.service = service
        yield relay


@pytest.fixture
def store(transport: str) -> Iterator[Store]:
    with connect_live(transport) as store:
        yield store


@pytest.fixture
def client(transport: str) -> Iterator[QdrantClient]:
    with live_client(transport) as client:
        yield client


@pytest.fixture
def name(client: QdrantClient) -> Iterator[str]:
    """Return a name that no collection has, and leave none of that name."""
    name = f"inference-{uuid.uuid4().hex}"
    yield name
    client.delete_collection(name)


@pytest.fixture
def dense(client: QdrantClient, name: str) -> str:
    """Return a collection of dense vectors, for clients of any kind."""
    params = models.VectorParams(size=WIDTH, distance=models.Distance.COSINE)
    client.create_collection(name, {"dense": params})
    return name


def document(text: str, model: str = "hash", **options: Any) -> models.Document:
    return models.Document(text=text, model=model, options=options or None)


def points(**more: Any) -> list[models.PointStruct]:
    return [
        models.PointStruct(id=number, vector={"dense": document(text), **more})
        for number, text in enumerate(TEXTS)
    ]


def vector_of(client: QdrantClient, name: str, identity: int, vector: str) -> Any:
    (record,) = client.retrieve(name, [identity], with_vectors=True)
    assert isinstance(record.vector, dict)
    return record.vector[vector]


def test_decant_serve_of_a_bundle_fills_and_searches_a_collection_of_decant(
    relay: InferenceRelay, store: Store, name: str, tiny_bundle: Path
) -> None:
    with decant_serve(tiny_bundle) as service, load(tiny_bundle, provider="cpu") as encoder:
        relay.service = service
        held = Collection.create(store, name, encoder)
        found = {one.name: one for one in check_served_collections(store, {"tiny": encoder})}
        assert found[name].model == "tiny"
        assert found[name].golden_added
        remote = Collection.open(store, name, ServerInference("tiny"))
        remote.add([Record(id=text, text=text) for text in TEXTS])
        for passage in held.get(TEXTS, with_vectors=True):
            expected = encoder.encode([passage.text], role=Role.PASSAGE).dense[0]
            assert passage.vector is not None
            np.testing.assert_allclose(passage.vector, expected, atol=1e-5)
        hits, expected_hits = remote.search("a boat"), held.search("a boat")
        assert [hit.id for hit in hits] == [hit.id for hit in expected_hits]
        assert [hit.score for hit in hits] == pytest.approx(
            [hit.score for hit in expected_hits], abs=1e-4
        )


@pytest.mark.parametrize("mode", SearchMode)
def test_every_mode_finds_what_it_finds_with_the_model(
    served: InferenceRelay, store: Store, name: str, model: HashEncoder, mode: SearchMode
) -> None:
    settings = CollectionSettings(words=Words())
    held = Collection.create(store, name, model, settings=settings)
    held.keep_golden_vectors()
    remote = Collection.open(store, name, ServerInference("hash"))
    remote.index([Document(source=f"{n}.txt", text=text) for n, text in enumerate(TEXTS)])
    hits = remote.search("the ferry in the log E1234", mode=mode)
    expected = held.search("the ferry in the log E1234", mode=mode)
    assert expected
    assert [hit.id for hit in hits] == [hit.id for hit in expected]
    assert [hit.score for hit in hits] == pytest.approx([one.score for one in expected], abs=1e-4)
    assert {asked["inference"] for asked in served.asked} == {"update", "search"}
    pinned = f"hash@{model.recipe.digest()}"
    sent = [one for asked in served.asked for one in asked["inputs"]]
    assert {one["model"] for one in sent} <= {pinned, f"{pinned}:sparse"}
    assert {one["data_type"] for one in sent} == {"text"}


def test_another_model_is_refused_and_nothing_is_stored(
    relay: InferenceRelay, store: Store, name: str, model: HashEncoder
) -> None:
    held = Collection.create(store, name, HashEncoder(WIDTH))
    held.keep_golden_vectors()
    remote = Collection.open(store, name, ServerInference("hash"))
    with serve_inference({"hash": model}) as service:
        relay.service = service
        with pytest.raises(StoreError, match=r"hash has the recipe .* here, and the request wan"):
            remote.add([Record(text="a")])
        # A service that gives its own model for any digest is found out by the golden vectors.
        relay.service = lambda body: service(
            {**body, "inputs": [{**one, "model": "hash"} for one in body["inputs"]]}
        )
        with serve_inference({"hash": HashEncoder(WIDTH, max_tokens=3)}) as other:
            relay.service = lambda body: other(
                {**body, "inputs": [{**one, "model": "hash"} for one in body["inputs"]]}
            )
            with pytest.raises(CollectionMismatch, match="is not the one that filled"):
                remote.add([Record(text="a")])
    assert remote.count() == 0


def test_dense_vectors_stored_and_searched_by_text_are_decants(
    served: InferenceRelay, client: QdrantClient, dense: str, model: HashEncoder
) -> None:
    client.upsert(dense, points())
    expected = model.encode(TEXTS, role=Role.PASSAGE).dense
    for number in range(len(TEXTS)):
        found = np.asarray(vector_of(client, dense, number, "dense"), np.float32)
        np.testing.assert_allclose(found, expected[number], atol=1e-5)
    query = model.encode(["when does the boat go?"], role=Role.QUERY).dense[0]
    by_text = client.query_points(dense, query=document("when does the boat go?"), using="dense")
    by_vector = client.query_points(dense, query=query.tolist(), using="dense")
    assert [one.id for one in by_text.points] == [one.id for one in by_vector.points]
    assert [one.score for one in by_text.points] == pytest.approx(
        [one.score for one in by_vector.points], abs=1e-5
    )
    by_role = client.query_points(
        dense, query=document(TEXTS[0], role="passage"), using="dense", limit=1
    )
    assert by_role.points[0].id == 0
    assert by_role.points[0].score == pytest.approx(1.0, abs=1e-5)
    assert [asked["inference"] for asked in served.asked] == ["update", "search", "search"]


def test_equal_texts_of_a_request_are_asked_for_once(
    served: InferenceRelay, client: QdrantClient, dense: str
) -> None:
    many = [
        models.PointStruct(id=number, vector={"dense": document(TEXTS[number % 3])})
        for number in range(300)
    ]
    client.upsert(dense, many)
    assert client.count(dense).count == 300
    assert all(len(asked["inputs"]) <= 3 for asked in served.asked)


def test_sparse_vectors_and_multivectors_are_stored_and_searched(
    served: InferenceRelay, client: QdrantClient, name: str, model: HashEncoder
) -> None:
    multivector = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    cosine = models.Distance.COSINE
    client.create_collection(
        name,
        {
            "dense": models.VectorParams(size=WIDTH, distance=cosine),
            "tokens": models.VectorParams(
                size=WIDTH, distance=cosine, multivector_config=multivector
            ),
        },
        sparse_vectors_config={"sparse": models.SparseVectorParams()},
    )
    client.upsert(
        name,
        [
            models.PointStruct(
                id=number,
                vector={
                    "dense": document(text),
                    "sparse": document(text, "hash:sparse"),
                    "tokens": document(text, "hash:tokens"),
                },
            )
            for number, text in enumerate(TEXTS)
        ],
    )
    assert len(served.asked) == 1
    outputs = (Output.SPARSE, Output.TOKEN_EMBEDDINGS)
    expected = model.encode([TEXTS[1]], role=Role.PASSAGE, outputs=outputs)
    assert expected.sparse is not None
    assert expected.token_embeddings is not None
    indices, values = expected.sparse[0]
    sparse = vector_of(client, name, 1, "sparse")
    assert dict(zip(sparse.indices, sparse.values, strict=True)) == pytest.approx(
        dict(zip(indices.tolist(), values.tolist(), strict=True)), abs=1e-5
    )
    tokens = np.asarray(vector_of(client, name, 1, "tokens"), np.float32)
    np.testing.assert_allclose(tokens, expected.token_embeddings[0], atol=1e-5)
    for using, kind in (("sparse", "hash:sparse"), ("tokens", "hash:tokens")):
        query = document(TEXTS[1], kind, role="passage")
        (hit,) = client.query_points(name, query=query, using=using, limit=1).points
        assert hit.id == 1


def test_a_hybrid_of_decants_dense_vectors_and_the_servers_bm25(
    served: InferenceRelay, client: QdrantClient, name: str
) -> None:
    params = models.VectorParams(size=WIDTH, distance=models.Distance.COSINE)
    bm25 = models.SparseVectorParams(modifier=models.Modifier.IDF)
    client.create_collection(name, {"dense": params}, sparse_vectors_config={"bm25": bm25})
    client.upsert(
        name,
        [
            models.PointStruct(
                id=number,
                vector={"dense": document(text), "bm25": document(text, "qdrant/bm25")},
            )
            for number, text in enumerate(TEXTS)
        ],
    )
    text = "E1234"
    found = client.query_points(
        name,
        prefetch=[
            models.Prefetch(query=document(text), using="dense", limit=3),
            models.Prefetch(query=document(text, "qdrant/bm25"), using="bm25", limit=3),
        ],
        query=models.FusionQuery(fusion=models.Fusion.RRF),
        limit=3,
    ).points
    assert found[0].id == 2
    (words,) = client.query_points(
        name, query=document(text, "qdrant/bm25"), using="bm25", limit=3
    ).points
    assert words.id == 2
    # Words are computed inside the server; decant is asked for the dense vectors alone.
    assert {one["model"] for asked in served.asked for one in asked["inputs"]} == {"hash"}


WIDE = ServiceAnswer(body=b'{"embeddings": [[1, 2, 3, 4, 5]]}')
FAULTS = {
    "refused": (ServiceAnswer(status=400, body=b'{"error": "no model"}'), 400, "validation failed"),
    "key": (ServiceAnswer(status=401, body=b"{}"), 500, "Authentication failed for inference"),
    "unprocessable": (ServiceAnswer(status=422, body=b"{}"), 400, "can't process request"),
    "broken": (ServiceAnswer(status=500, body=b"{}"), 500, "Inference service error"),
    "none": (ServiceAnswer(body=b'{"embeddings": []}'), 500, "returned no vectors"),
    "width": (WIDE, 400, "expected dim: 16, got 5"),
    "NaN": (ServiceAnswer(body=b'{"embeddings": [[NaN]]}'), 500, "parse"),
}  # fmt: skip
_CODES = {400: grpc.StatusCode.INVALID_ARGUMENT, 500: grpc.StatusCode.INTERNAL}


def check_fault(error: Exception, status: int, said: str) -> None:
    """Compare what a client raised with the fault over REST and over gRPC."""
    if isinstance(error, UnexpectedResponse):
        assert error.status_code == status
        assert said in error.content.decode()
    else:
        assert isinstance(error, grpc.RpcError)
        assert error.code() is _CODES[status]
        assert said in (error.details() or "")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_service_is_what_users_see_and_nothing_is_stored(
    relay: InferenceRelay, client: QdrantClient, dense: str, fault: str
) -> None:
    answer, status, said = FAULTS[fault]
    relay.service = lambda _: answer
    for work in (
        lambda: client.upsert(dense, points()[:1]),
        lambda: client.query_points(dense, query=document("a"), using="dense"),
    ):
        with pytest.raises((UnexpectedResponse, grpc.RpcError)) as caught:
            work()
        check_fault(caught.value, status, said)
    assert client.count(dense).count == 0


def test_too_many_requests_come_with_the_seconds_to_wait(
    relay: InferenceRelay, client: QdrantClient, dense: str
) -> None:
    relay.service = lambda _: ServiceAnswer(status=429, headers={"Retry-After": "3"}, body=b"{}")
    with pytest.raises(ResourceExhaustedResponse) as caught:
        client.upsert(dense, points()[:1])
    assert caught.value.retry_after_s == 3
    assert client.count(dense).count == 0


def test_a_service_that_takes_longer_than_the_request_may_is_an_error(
    relay: InferenceRelay, client: QdrantClient, dense: str
) -> None:
    ended = Event()

    def wait(_: Any) -> ServiceAnswer:
        ended.wait(timeout=20)
        return ServiceAnswer(status=503)

    relay.service = wait
    try:
        # The client of REST waits no longer itself, and may be the first to give up.
        with pytest.raises((UnexpectedResponse, ResponseHandlingException, grpc.RpcError)):
            client.query_points(dense, query=document("a"), using="dense", timeout=1)
    finally:
        ended.set()
    assert client.count(dense).count == 0


def test_an_image_and_an_unknown_model_are_refused(
    served: InferenceRelay, client: QdrantClient, dense: str
) -> None:
    image = models.Image(image="https://example.org/x.png", model="hash")
    for query, said in ((image, "is an image"), (document("a", "absent"), "there are: hash")):
        with pytest.raises((UnexpectedResponse, grpc.RpcError)) as caught:
            client.query_points(dense, query=query, using="dense")
        check_fault(caught.value, 400, said)
    assert served.asked[0]["inputs"][0]["data_type"] == "image"


@pytest.mark.parametrize("fault", ["refused", "key", "width"])
def test_decant_says_what_to_do_and_stores_nothing(
    relay: InferenceRelay, store: Store, name: str, model: HashEncoder, fault: str
) -> None:
    held = Collection.create(store, name, HashEncoder(WIDTH))
    held.add([Record(text="first")])
    remote = Collection.open(store, name, ServerInference("hash"))
    relay.service = lambda _: FAULTS[fault][0]
    advice = {"refused": "serve the bundle", "key": "QDRANT__INFERENCE__TOKEN", "width": "serve"}
    with pytest.raises(StoreError, match=advice[fault]):
        remote.add([Record(text="second")])
    with pytest.raises(StoreError, match=advice[fault]):
        remote.index([Document(source="a.txt", text="third")])
    assert held.count() == 1
    assert model.dim == held.encoder.dim
