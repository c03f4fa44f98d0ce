"""What goes to a server for sparse vectors, their fusion and states, over REST and over gRPC.

The double of a server keeps what it is sent over REST; a small one, which answers with one point,
stands for it over gRPC.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from qdrant_client import QdrantClient
from qdrant_client import grpc as wire
from qdrant_client.grpc import points_service_pb2_grpc as points_service
from qdrant_client.grpc import qdrant_pb2_grpc as root_service

from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    CollectionMetadata,
    CollectionSettings,
    Equals,
    Point,
    RemoteStore,
    Select,
    SparseVector,
)
from decant.integrations.qdrant.server.capabilities import Server
from decant.integrations.qdrant.server.retry import Backoff
from decant.integrations.qdrant.stores.collection_settings import StoredLayout
from decant.integrations.qdrant.stores.queries import Query
from qdrant_double import QdrantDouble

ID = "00000000-0000-0000-0000-000000000001"
SPARSE = SparseVector(
    indices=np.asarray([2**32 - 1, 5], np.int64), values=np.asarray([0.5, 2.0], np.float32)
)
POINT = Point(id=ID, payload={"a": 1}, dense=np.asarray([1, 0], np.float32), sparse=SPARSE)
QUERIES: list[Query] = [np.asarray([1, 0], np.float32), SPARSE]
BOTH = Select(dense=True, sparse=True)


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
        return wire.QueryResponse(result=[self._found()], time=0.0)

    def QueryBatch(self, request: Any, context: Any) -> Any:  # noqa: N802 (the service's name)
        self.sent.append(request)
        results = [wire.BatchResult(result=[self._found()]) for _ in request.query_points]
        return wire.QueryBatchResponse(result=results, time=0.0)

    @staticmethod
    def _found() -> Any:
        sparse = wire.SparseVector(values=[2.0, 0.5], indices=[5, 2**32 - 1])
        vectors = {
            "dense": wire.VectorOutput(dense=wire.DenseVector(data=[1, 0])),
            "sparse": wire.VectorOutput(sparse=sparse),
        }
        return wire.ScoredPoint(
            id=wire.PointId(uuid=ID),
            score=0.03,
            vectors=wire.VectorsOutput(vectors=wire.NamedVectorsOutput(vectors=vectors)),
        )


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
    store = RemoteStore(Server(client, backoff=Backoff(attempts=1)))
    store._catalog._layouts["docs"] = StoredLayout()  # as after it was opened
    yield store
    client.close()
    server.stop(None).wait()


class TestGrpc:
    def test_a_point_goes_with_both_vectors(self, over_grpc: RemoteStore, points: Points) -> None:
        over_grpc._words.remember("docs", None)
        over_grpc.aliases.saw("docs", {})  # as after it was opened
        over_grpc.upsert("docs", [POINT, Point(id=ID, payload={})])
        (request,) = points.sent
        first, second = request.points
        named = first.vectors.vectors.vectors
        assert list(named["dense"].dense.data) == [1, 0]
        assert list(named["sparse"].sparse.indices) == [2**32 - 1, 5]
        assert list(named["sparse"].sparse.values) == [0.5, 2]
        assert not second.vectors.vectors.vectors

    def test_rankings_are_asked_for_in_one_request(
        self, over_grpc: RemoteStore, points: Points
    ) -> None:
        found = over_grpc.rank("docs", QUERIES, limit=23, where=Equals("n", 1))
        (request,) = points.sent
        dense, sparse = request.query_points
        assert [dense.using, sparse.using] == ["dense", "sparse"]
        assert list(sparse.query.nearest.sparse.indices) == [2**32 - 1, 5]
        for part in (dense, sparse):
            assert part.limit == 23
            assert part.filter == dense.filter
            assert len(part.filter.must) == 1
        assert [[score for _, score in ranking] for ranking in found] == [
            pytest.approx([0.03]),
            pytest.approx([0.03]),
        ]

    def test_a_vector_that_is_found_comes_whole(
        self, over_grpc: RemoteStore, points: Points
    ) -> None:
        (scored,) = over_grpc.query("docs", SPARSE, BOTH, limit=3, offset=20)
        (request,) = points.sent
        assert (request.limit, request.offset) == (3, 20)
        held = scored.point.sparse
        assert held is not None
        assert held.indices.tolist() == [5, 2**32 - 1]
        assert held.values.tolist() == [2, 0.5]


@pytest.fixture
def double() -> Iterator[QdrantDouble]:
    with QdrantDouble() as double:
        yield double


@pytest.fixture
def over_rest(double: QdrantDouble) -> Iterator[RemoteStore]:
    client = QdrantClient(url=double.url, check_compatibility=False)
    store = RemoteStore(Server(client, backoff=Backoff(attempts=1)))
    store._catalog._layouts["docs"] = StoredLayout()  # as after it was opened
    yield store
    client.close()


class TestRest:
    @pytest.mark.parametrize("sparse", [False, True])
    def test_a_collection_is_made_with_what_its_card_says(
        self, over_rest: RemoteStore, double: QdrantDouble, sparse: bool
    ) -> None:
        over_rest.create(
            "docs", CollectionMetadata.of(HashEncoder(16, sparse=sparse)), CollectionSettings()
        )
        (made,) = double.requests("PUT", "/collections/docs")
        assert [*made.body["vectors"]] == ["dense"]
        assert made.body.get("sparse_vectors") == ({"sparse": {}} if sparse else None)

    def test_states_are_a_multivector_that_is_stored_and_not_indexed(
        self, over_rest: RemoteStore, double: QdrantDouble
    ) -> None:
        card = replace(CollectionMetadata.of(HashEncoder(16)), soft_tokens=3)
        over_rest.create("docs", card, CollectionSettings(soft_tokens=True))
        (made,) = double.requests("PUT", "/collections/docs")
        assert made.body["vectors"]["states"] == {
            "size": 3,
            "distance": "Dot",
            "multivector_config": {"comparator": "max_sim"},
            "hnsw_config": {"m": 0},
            "on_disk": True,
        }
        states = np.asarray([[1, 2, 3], [4, 5, 6]], np.float32)
        over_rest.upsert("docs", [Point(id=ID, payload={}, soft_tokens=states)])
        (written,) = double.requests("PUT", "/points")
        (sent,) = written.body["points"]
        assert sent["vector"] == {"states": [[1, 2, 3], [4, 5, 6]]}

    def test_rankings_are_asked_for_in_one_request(
        self, over_rest: RemoteStore, double: QdrantDouble
    ) -> None:
        over_rest.create(
            "docs", CollectionMetadata.of(HashEncoder(2, sparse=True)), CollectionSettings()
        )
        over_rest.rank("docs", QUERIES, limit=10, where=Equals("n", 1))
        (asked,) = double.requests("POST", "/points/query/batch")
        dense, sparse = asked.body["searches"]
        assert [dense["using"], sparse["using"]] == ["dense", "sparse"]
        assert [dense["limit"], sparse["limit"]] == [10, 10]
        assert dense["filter"] == sparse["filter"]
        assert len(dense["filter"]["must"]) == 1
        assert sparse["query"] == {"nearest": {"indices": [2**32 - 1, 5], "values": [0.5, 2.0]}}

    def test_a_point_goes_with_both_vectors(
        self, over_rest: RemoteStore, double: QdrantDouble
    ) -> None:
        over_rest.create(
            "docs", CollectionMetadata.of(HashEncoder(2, sparse=True)), CollectionSettings()
        )
        over_rest.upsert("docs", [POINT])
        (written,) = double.requests("PUT", "/points")
        (sent,) = written.body["points"]
        assert sent["vector"] == {
            "dense": [1, 0],
            "sparse": {"indices": [2**32 - 1, 5], "values": [0.5, 2.0]},
        }
