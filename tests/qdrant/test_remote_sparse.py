"""What goes to a server for sparse vectors, their fusion and states, over REST and over gRPC.

Small servers stand for a Qdrant server: they keep what they are sent, and answer with one point.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from qdrant_client import QdrantClient
from qdrant_client import grpc as wire
from qdrant_client.grpc import points_service_pb2_grpc as points_service
from qdrant_client.grpc import qdrant_pb2_grpc as root_service

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Card,
    CollectionSettings,
    Equals,
    Fetch,
    Fused,
    Point,
    RemoteStore,
    SparseVector,
)
from decant.integrations.qdrant.retry import Backoff
from decant.integrations.qdrant.server import Server

ID = "00000000-0000-0000-0000-000000000001"
SPARSE = SparseVector(
    indices=np.asarray([2**32 - 1, 5], np.int64), values=np.asarray([0.5, 2.0], np.float32)
)
POINT = Point(id=ID, payload={"a": 1}, dense=np.asarray([1, 0], np.float32), sparse=SPARSE)
FUSED = Fused(dense=np.asarray([1, 0], np.float32), sparse=SPARSE)
BOTH = Fetch(dense=True, sparse=True)


class Points(points_service.PointsServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802 (the service's name)
        self.sent.append(request)
        done = wire.UpdateResult(operation_id=1, status=wire.UpdateStatus.Completed)
        return wire.PointsOperationResponse(result=done, time=0.0)

    def Query(self, request: Any, context: Any) -> Any:  # noqa: N802 (the service's name)
        self.sent.append(request)
        sparse = wire.SparseVector(values=[2.0, 0.5], indices=[5, 2**32 - 1])
        vectors = {
            "dense": wire.VectorOutput(dense=wire.DenseVector(data=[1, 0])),
            "sparse": wire.VectorOutput(sparse=sparse),
        }
        found = wire.ScoredPoint(
            id=wire.PointId(uuid=ID),
            score=0.03,
            vectors=wire.VectorsOutput(vectors=wire.NamedVectorsOutput(vectors=vectors)),
        )
        return wire.QueryResponse(result=[found], time=0.0)


class Root(root_service.QdrantServicer):
    """Says that it is a Qdrant server."""

    def HealthCheck(self, request: Any, context: Any) -> Any:  # noqa: N802 (the service's name)
        return wire.HealthCheckReply(title="qdrant", version="1.19.0")


@pytest.fixture
def points() -> Points:
    return Points()


@pytest.fixture
def over_grpc(points: Points) -> Iterator[RemoteStore]:
    server = grpc.server(ThreadPoolExecutor(2))
    points_service.add_PointsServicer_to_server(points, server)  # type: ignore[no-untyped-call]
    root_service.add_QdrantServicer_to_server(Root(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = QdrantClient(
        host="127.0.0.1", grpc_port=port, prefer_grpc=True, check_compatibility=False
    )
    yield RemoteStore(Server(client, backoff=Backoff(attempts=1)))
    client.close()
    server.stop(None).wait()


class TestGrpc:
    def test_a_point_goes_with_both_vectors(self, over_grpc: RemoteStore, points: Points) -> None:
        over_grpc.upsert("docs", [POINT, Point(id=ID, payload={})])
        (request,) = points.sent
        first, second = request.points
        named = first.vectors.vectors.vectors
        assert list(named["dense"].dense.data) == [1, 0]
        assert list(named["sparse"].sparse.indices) == [2**32 - 1, 5]
        assert list(named["sparse"].sparse.values) == [0.5, 2]
        assert not second.vectors.vectors.vectors

    def test_a_fusion_goes_with_its_k_and_its_filters(
        self, over_grpc: RemoteStore, points: Points
    ) -> None:
        found = over_grpc.query("docs", FUSED, BOTH, limit=3, offset=20, where=Equals("n", 1))
        (request,) = points.sent
        assert request.query.rrf.k == 61
        assert (request.limit, request.offset) == (3, 20)
        dense, sparse = request.prefetch
        assert [dense.using, sparse.using] == ["dense", "sparse"]
        assert list(sparse.query.nearest.sparse.indices) == [2**32 - 1, 5]
        for part in request.prefetch:
            assert part.limit == 23
            assert part.filter == dense.filter
            assert len(part.filter.must) == 1
        (scored,) = found
        assert scored.score == pytest.approx(0.03)
        held = scored.point.sparse
        assert held is not None
        assert held.indices.tolist() == [5, 2**32 - 1]
        assert held.values.tolist() == [2, 0.5]


class Recorder(BaseHTTPRequestHandler):
    """Keeps the bodies of what it is sent; ``points`` are answered with none."""

    bodies: dict[str, Any]

    def do_GET(self) -> None:
        match self.path:
            case "/":
                self.answer({"title": "qdrant", "version": "1.19.0"})
            case "/collections":
                self.answer({"result": {"collections": []}})
            case _:
                self.answer({"result": {"exists": False}})

    def do_PUT(self) -> None:
        self.keep()
        is_points = self.path.split("?")[0].endswith("points")
        done = {"operation_id": 1, "status": "completed"}
        self.answer({"result": done if is_points else True})

    def do_POST(self) -> None:
        self.keep()
        self.answer({"result": {"points": []}})

    def keep(self) -> None:
        length = int(self.headers["content-length"])
        self.bodies[self.path.split("?")[0]] = json.loads(self.rfile.read(length))

    def answer(self, shown: dict[str, Any]) -> None:
        data = json.dumps(shown).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep quiet."""


@pytest.fixture
def bodies() -> dict[str, Any]:
    return {}


@pytest.fixture
def over_rest(bodies: dict[str, Any]) -> Iterator[RemoteStore]:
    handler = type("Handler", (Recorder,), {"bodies": bodies})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        client = QdrantClient(url=url, check_compatibility=False)
        yield RemoteStore(Server(client, backoff=Backoff(attempts=1)))
        client.close()
        server.shutdown()
        thread.join()


class TestRest:
    @pytest.mark.parametrize("sparse", [False, True])
    def test_a_collection_is_made_with_what_its_card_says(
        self, over_rest: RemoteStore, bodies: dict[str, Any], sparse: bool
    ) -> None:
        card = Card.of(HashEncoder(16, sparse=sparse))
        with pytest.raises(StoreError, match="there is no collection"):  # it is not kept
            over_rest.create("docs", card, CollectionSettings())
        made = bodies["/collections/docs"]
        assert [*made["vectors"]] == ["dense"]
        assert made.get("sparse_vectors") == ({"sparse": {}} if sparse else None)

    def test_states_are_a_multivector_that_is_stored_and_not_indexed(
        self, over_rest: RemoteStore, bodies: dict[str, Any]
    ) -> None:
        card = replace(Card.of(HashEncoder(16)), states=3)
        with pytest.raises(StoreError, match="there is no collection"):  # it is not kept
            over_rest.create("docs", card, CollectionSettings(states=True))
        assert bodies["/collections/docs"]["vectors"]["states"] == {
            "size": 3,
            "distance": "Dot",
            "multivector_config": {"comparator": "max_sim"},
            "hnsw_config": {"m": 0},
            "on_disk": True,
        }
        states = np.asarray([[1, 2, 3], [4, 5, 6]], np.float32)
        over_rest.upsert("docs", [Point(id=ID, payload={}, states=states)])
        (sent,) = bodies["/collections/docs/points"]["points"]
        assert sent["vector"] == {"states": [[1, 2, 3], [4, 5, 6]]}

    def test_a_fusion_goes_with_its_k_and_its_filters(
        self, over_rest: RemoteStore, bodies: dict[str, Any]
    ) -> None:
        over_rest.query("docs", FUSED, BOTH, limit=10, where=Equals("n", 1))
        body = bodies["/collections/docs/points/query"]
        assert body["query"] == {"rrf": {"k": 61}}
        assert [part["using"] for part in body["prefetch"]] == ["dense", "sparse"]
        assert [part["limit"] for part in body["prefetch"]] == [40, 40]
        assert all(len(part["filter"]["must"]) == 1 for part in body["prefetch"])
        assert body["prefetch"][1]["query"] == {"indices": [2**32 - 1, 5], "values": [0.5, 2.0]}
        assert body.get("filter") is None

    def test_a_point_goes_with_both_vectors(
        self, over_rest: RemoteStore, bodies: dict[str, Any]
    ) -> None:
        over_rest.upsert("docs", [POINT])
        (sent,) = bodies["/collections/docs/points"]["points"]
        assert sent["vector"] == {
            "dense": [1, 0],
            "sparse": {"indices": [2**32 - 1, 5], "values": [0.5, 2.0]},
        }
