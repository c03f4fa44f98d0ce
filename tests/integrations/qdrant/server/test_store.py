"""What is particular to servers: reaching them, asking again, answers that get lost.

A small HTTP server stands for a Qdrant server, which no package index has. It knows the few
requests that are made here, and fails when it is told to. The live contract tests are in
``stores/test_contract.py``.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionMetadata,
    CollectionSettings,
    Equals,
    FieldType,
    PayloadIndex,
    RemoteStore,
    connect,
)
from decant.integrations.qdrant.server.capabilities import Server
from decant.integrations.qdrant.server.retry import Backoff

INFO: dict[str, Any] = {
    "status": "green", "optimizer_status": "ok", "segments_count": 1, "points_count": 0,
    "config": {
        "params": {"vectors": {"dense": {"size": 16, "distance": "Cosine"}}},
        "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10},
        "optimizer_config": {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1,
                             "default_segment_number": 0, "flush_interval_sec": 5},
    },
}  # fmt: skip


class FakeQdrant(ThreadingHTTPServer):
    """Answers as a Qdrant server does, as far as these tests ask.

    ``failures`` are taken by the next requests, one each: a status, sent before or after the
    request was carried out, or None to drop the connection.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.version = "1.19.0"
        self.collections: dict[str, dict[str, Any]] = {}
        self.failures: deque[tuple[int | None, bool]] = deque()
        self.asked: list[str] = []
        self.before_put: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def carry_out(self, method: str, path: str, body: Any) -> tuple[int, object]:
        match method, path.split("?", maxsplit=1)[0].strip("/").split("/"):
            case "GET", [""]:
                return 200, {"title": "qdrant", "version": self.version}
            case "GET", ["collections" | "aliases"]:
                named = [{"name": name} for name in self.collections]
                return 200, {"collections": named, "aliases": []}
            case "GET", ["collections", name, "exists"]:
                return 200, {"exists": name in self.collections}
            case "GET", ["collections", name]:
                held = self.collections[name]
                config = {**INFO["config"], "metadata": held["metadata"]}
                schema = {
                    path: {"data_type": t, "points": 0} for path, t in held["indexes"].items()
                }
                return 200, {**INFO, "config": config, "payload_schema": schema}
            case "PUT", ["collections", name]:
                self.before_put()
                if name in self.collections:
                    return 409, f"Wrong input: Collection `{name}` already exists!"
                self.collections[name] = {"metadata": body.get("metadata"), "indexes": {}}
                return 200, True
            case "PATCH", ["collections", name]:
                self.collections[name]["metadata"] |= body["metadata"]
                return 200, True
            case "PUT", ["collections", name, "index"]:
                self.collections[name]["indexes"][body["field_name"]] = body["field_schema"]
                return 200, {"operation_id": 1, "status": "completed"}
            case "POST", ["collections", _, "points", "count"]:
                return (400, "Bad filter") if "bad" in json.dumps(body) else (200, {"count": 7})
            case _:
                return 404, f"no route for {method} {path}"


class Handler(BaseHTTPRequestHandler):
    @property
    def qdrant(self) -> FakeQdrant:
        assert isinstance(self.server, FakeQdrant)
        return self.server

    def do(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = json.loads(self.rfile.read(length) or b"null")
        self.qdrant.asked.append(f"{self.command} {self.path.split('?')[0]}")
        failure = self.qdrant.failures.popleft() if self.qdrant.failures else (200, False)
        status, is_carried_out = failure
        result: object = "the server is busy"
        if status == 200 or is_carried_out:
            carried_out, result = self.qdrant.carry_out(self.command, self.path, body)
            status = carried_out if status == 200 else status
        if status is None:
            self.close_connection = True
        else:
            self.answer(status, result)

    def answer(self, status: int, result: object) -> None:
        shown = {"result": result, "status": "ok", "time": 0.0}
        if status != 200:
            shown = {"status": {"error": result}, "time": 0.0}
        if self.path == "/":
            shown = result if isinstance(result, dict) else shown
        data = json.dumps(shown).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("retry-after", "3")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_PATCH = do  # noqa: N815 (what the base class looks for)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[FakeQdrant]:
    with FakeQdrant() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def pauses() -> list[float]:
    return []  # filled with the seconds that would have been waited


@pytest.fixture
def store(server: FakeQdrant, pauses: list[float]) -> Iterator[RemoteStore]:
    client = QdrantClient(url=server.url, check_compatibility=False)
    backoff = Backoff(attempts=4, first=1.0, longest=3.0, sleep=pauses.append)
    yield RemoteStore(Server(client, backoff=backoff))
    client.close()


def card() -> CollectionMetadata:
    return CollectionMetadata.of(HashEncoder(16))


def count(store: RemoteStore) -> int:
    return store.count("docs", Equals("a", 1))


class TestReaching:
    def test_a_server_that_is_there_is_a_store(self, server: FakeQdrant) -> None:
        with connect(server.url) as store:
            assert store.place == server.url
            assert store.names() == []
        with pytest.raises(StoreError, match="closed"):
            store.names()

    def test_a_server_that_is_not_there_is_said_with_its_address(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StoreError, match=f"{url} failed.*check that the server runs"):
            connect(url)

    def test_a_server_that_is_too_old_is_refused(self, server: FakeQdrant) -> None:
        server.version = "1.15.5"
        with pytest.raises(StoreError, match=r"has version 1\.15\.5; decant needs 1\.16"):
            connect(server.url)
        server.version = "2.0.0-dev"
        connect(server.url).close()

    def test_a_client_that_is_handed_over_stays_open(self, server: FakeQdrant) -> None:
        client = QdrantClient(url=server.url, check_compatibility=False)
        with connect(client) as store:
            assert store.place == server.url
        assert client.get_collections().collections == []
        client.close()

    @pytest.mark.parametrize("where", ["ftp://host", "qdrant://host", "http://[bad"])
    def test_an_address_of_another_kind_is_refused(self, where: str) -> None:
        with pytest.raises(StoreError, match="is no address of a Qdrant server"):
            connect(where)

    def test_an_api_key_for_a_folder_is_refused(self) -> None:
        with pytest.raises(StoreError, match="an API key goes with an http"):
            connect("./index", api_key="secret")


class TestAskingAgain:
    @pytest.mark.parametrize("failure", [503, 500, 429, None])
    def test_failures_that_pass_are_waited_out(
        self, server: FakeQdrant, store: RemoteStore, pauses: list[float], failure: int | None
    ) -> None:
        server.failures.extend([(failure, False)] * 3)
        assert count(store) == 7
        if failure == 429:
            assert pauses == [3, 3, 3], "as the server asked"
        else:
            assert all(pause <= most for pause, most in zip(pauses, [1, 2, 3], strict=True))

    def test_a_server_that_stays_busy_is_given_up_on(
        self, server: FakeQdrant, store: RemoteStore, pauses: list[float]
    ) -> None:
        server.failures.extend([(503, False)] * 9)
        with pytest.raises(StoreError, match=f"'docs' at {server.url} failed after 4 attempts"):
            count(store)
        assert len(pauses) == 3

    def test_a_refusal_is_not_repeated(
        self, server: FakeQdrant, store: RemoteStore, pauses: list[float]
    ) -> None:
        before = len(server.asked)
        with pytest.raises(StoreError, match=r"was refused.*Bad filter"):
            store.count("docs", Equals("bad", 1))
        assert len(server.asked) == before + 1
        assert pauses == []


class TestCreating:
    def test_the_card_and_the_indexes_are_written(
        self, server: FakeQdrant, store: RemoteStore
    ) -> None:
        made = card()
        settings = CollectionSettings(indexed=(PayloadIndex(key="year", type=FieldType.INTEGER),))
        store.create("docs", made, settings)
        assert server.collections["docs"]["indexes"] == {
            "source": "keyword",
            "root": "keyword",
            "kind": "keyword",
            "text_sha256": "keyword",
            "metadata.year": "integer",
        }
        assert store.card("docs") == made
        store.add_index("docs", PayloadIndex(key="late"))
        server.collections["docs"]["indexes"].clear()
        store.card("docs")
        assert "metadata.late" in server.collections["docs"]["indexes"], "it is noted for good"

    def test_an_answer_that_got_lost_is_no_failure(
        self, server: FakeQdrant, store: RemoteStore
    ) -> None:
        made = card()
        server.failures.extend([(200, False), (503, True)])  # it is made, but we are not told
        store.create("docs", made, CollectionSettings())
        assert server.asked.count("PUT /collections/docs") == 2
        assert store.card("docs") == made

    def test_another_creator_that_was_faster_is_recognised(
        self, server: FakeQdrant, store: RemoteStore
    ) -> None:
        theirs = card()

        def make_theirs() -> None:
            server.collections["docs"] = {
                "metadata": {"decant": theirs.to_json(), "decant_indexes": {}},
                "indexes": {},
            }

        server.before_put = make_theirs
        with pytest.raises(StoreError, match="'docs' already exists"):
            store.create("docs", card(), CollectionSettings())
        assert store.card("docs") == theirs

    def test_indexes_that_a_killed_creator_left_out_are_made_good(
        self, server: FakeQdrant, store: RemoteStore
    ) -> None:
        store.create("docs", card(), CollectionSettings())
        server.collections["docs"]["indexes"].clear()
        Collection.open(store, "docs", HashEncoder(16))
        assert len(server.collections["docs"]["indexes"]) == 4

    @pytest.mark.parametrize("metadata", [None, {}, {"other": 1}])
    def test_a_collection_that_decant_did_not_make_is_refused(
        self, server: FakeQdrant, store: RemoteStore, metadata: dict[str, object] | None
    ) -> None:
        server.collections["docs"] = {"metadata": metadata, "indexes": {}}
        with pytest.raises(StoreError, match="was not made by decant"):
            Collection.open(store, "docs", HashEncoder(16))
        with pytest.raises(StoreError, match="was not made by decant"):
            store.drop("docs")
