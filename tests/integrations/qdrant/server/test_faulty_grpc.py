"""Faults over gRPC are judged as over REST: a server in this process refuses, and keeps silent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import monotonic

import grpc  # type: ignore[import-untyped]
import pytest
from qdrant_client import grpc as wire

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import Collection, Equals, connect
from fault_server import PEM


class GrpcRoot(wire.QdrantServicer):
    """Answers over gRPC as Qdrant does; the count comes after these errors."""

    def __init__(self) -> None:
        self.keys: list[str | bytes | None] = []
        self.metadata: dict[str, str | bytes] = {}
        self.errors: list[tuple[grpc.StatusCode, str]] = []
        self.is_hanging = False
        self.released = Event()

    def HealthCheck(self, request: object, context: grpc.ServicerContext) -> object:  # noqa: N802
        self.metadata = dict(context.invocation_metadata())
        self.keys.append(self.metadata.get("api-key"))
        return wire.HealthCheckReply(title="qdrant - vector search engine", version="1.19.0")


class GrpcCollections(wire.CollectionsServicer):
    def __init__(self, root: GrpcRoot) -> None:
        self._root = root

    def CollectionExists(self, request: object, context: grpc.ServicerContext) -> object:  # noqa: N802
        self.fail(context)
        return wire.CollectionExistsResponse(result=wire.CollectionExists(exists=False))

    def List(self, request: object, context: grpc.ServicerContext) -> object:  # noqa: N802
        self.fail(context)
        return wire.ListCollectionsResponse()

    def fail(self, context: grpc.ServicerContext) -> None:
        if self._root.is_hanging:
            self._root.released.wait(20)
        if self._root.errors:
            code, said = self._root.errors.pop(0)
            if said.startswith("retry-after"):
                name, _, value = said.partition("=")
                context.set_trailing_metadata(((name, value),))
            context.abort(code, said)


class GrpcPoints(wire.PointsServicer):
    def __init__(self, collections: GrpcCollections) -> None:
        self._collections = collections

    def Count(self, request: object, context: grpc.ServicerContext) -> object:  # noqa: N802
        self._collections.fail(context)
        return wire.CountResponse(result=wire.CountResult(count=0))


class TestGrpc:
    @pytest.fixture
    def root(self) -> GrpcRoot:
        return GrpcRoot()

    @pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
    def address(
        self, request: pytest.FixtureRequest, root: GrpcRoot
    ) -> Iterator[tuple[str, int, Path | None]]:
        server = grpc.server(ThreadPoolExecutor(2))
        wire.add_QdrantServicer_to_server(root, server)  # type: ignore[no-untyped-call]
        collections = GrpcCollections(root)
        wire.add_CollectionsServicer_to_server(collections, server)  # type: ignore[no-untyped-call]
        wire.add_PointsServicer_to_server(GrpcPoints(collections), server)  # type: ignore[no-untyped-call]
        if request.param:
            pair = (PEM.read_bytes(), PEM.read_bytes())
            port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        else:
            port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        scheme, ca = ("https", PEM) if request.param else ("http", None)
        yield f"{scheme}://127.0.0.1", port, ca
        root.released.set()
        server.stop(None).wait()

    def test_all_requests_go_there_with_the_key(
        self, root: GrpcRoot, address: tuple[str, int, Path | None]
    ) -> None:
        url, port, ca = address
        with connect(url, api_key="key", grpc_port=port, ca=ca) as store:
            assert store.place == f"{url}:6333"
            assert store.names() == []
        assert root.keys == ["key"]

    def test_headers_go_along_as_metadata(
        self, root: GrpcRoot, address: tuple[str, int, Path | None]
    ) -> None:
        url, port, ca = address
        headers = {"Authorization": "Basic aHVzaA==", "X-Team": "search"}
        connect(url, grpc_port=port, ca=ca, headers=headers).close()
        assert root.metadata["authorization"] == "Basic aHVzaA=="
        assert root.metadata["x-team"] == "search"

    def test_writes_of_a_reading_connection_are_refused_before_they_are_sent(
        self, root: GrpcRoot, address: tuple[str, int, Path | None]
    ) -> None:
        url, port, ca = address
        with connect(url, grpc_port=port, ca=ca, read_only=True) as store:
            assert store.names() == []
            with pytest.raises(StoreError, match=r"making the collection 'docs' at .*read_only=Tr"):
                Collection.create(store, "docs", HashEncoder(8))

    def test_faults_are_judged_as_over_rest(
        self, root: GrpcRoot, address: tuple[str, int, Path | None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url, port, ca = address
        monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
        with connect(url, grpc_port=port, ca=ca) as store:
            lost = "1 of 3 read operations failed"
            root.errors += [(grpc.StatusCode.INTERNAL, lost), (grpc.StatusCode.UNAVAILABLE, "x")]
            root.errors += [(grpc.StatusCode.RESOURCE_EXHAUSTED, "retry-after=0.01")]
            assert store.names() == []
            root.errors += [(grpc.StatusCode.RESOURCE_EXHAUSTED, "Insufficient storage")]
            said = (
                rf"at {url}:6333 \(gRPC at port {port}\) was refused: .*the server's disk is full"
            )
            with pytest.raises(StoreError, match=said):
                store.names()

    def test_a_filter_without_an_index_is_answered_with_the_way(
        self, root: GrpcRoot, address: tuple[str, int, Path | None]
    ) -> None:
        url, port, ca = address
        said = (
            'Bad request: Index required but not found for "metadata.year" of one of the following '
            "types: [integer]. Help: Create an index for this key or use a different filter."
        )
        with connect(url, grpc_port=port, ca=ca) as store:
            root.errors += [(grpc.StatusCode.INVALID_ARGUMENT, said)]
            way = (
                r"index it with collection.add_index\(PayloadIndex\(key='year', "
                r"type=FieldType.INTEGER\)\) \(`decant index … --payload-index year:integer`\)"
            )
            with pytest.raises(StoreError, match=way):
                store.count("docs", Equals("year", 1999))

    def test_a_server_that_never_answers_is_given_up_in_time(
        self, root: GrpcRoot, address: tuple[str, int, Path | None]
    ) -> None:
        url, port, ca = address
        with connect(url, grpc_port=port, ca=ca, timeout=1) as store:
            root.is_hanging = True
            began = monotonic()
            with pytest.raises(StoreError, match=r"failed after 1 attempt in \d s: DEADLINE_EXCEE"):
                store.names()
        assert monotonic() - began < 10

    def test_a_wrong_key_is_noticed_when_connecting(
        self, root: GrpcRoot, address: tuple[str, int, Path | None]
    ) -> None:
        url, port, ca = address
        root.errors += [(grpc.StatusCode.UNAUTHENTICATED, "Invalid API key or JWT")]
        with pytest.raises(StoreError, match="Invalid API key or JWT; give the server's key"):
            connect(url, api_key="wrong", grpc_port=port, ca=ca)

    def test_grpc_is_at_its_own_port_unless_another_is_given(self) -> None:
        with pytest.raises(StoreError, match=r"\(gRPC at port 6334\) failed"):
            connect("http://127.0.0.2", grpc=True)
        with pytest.raises(StoreError, match=r"\(gRPC at port 1\) failed"):
            connect("http://127.0.0.2:7333", grpc=True, grpc_port=1)

    def test_a_server_that_is_not_there_is_said_with_its_port(self) -> None:
        with pytest.raises(StoreError, match=r"\(gRPC at port 1\) failed.*UNAVAILABLE"):
            connect("http://127.0.0.1", grpc_port=1)
