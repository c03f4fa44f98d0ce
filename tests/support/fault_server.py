"""A server on this machine that fails as servers, proxies and other programs do.

It answers the few requests that reaching a server and an empty collection take; what it answers
else is the next of its ``faults``. ``loopback.pem`` holds the key and the certificate with which it
can speak TLS: signed by itself, and good until 2120.
"""

from __future__ import annotations

import json
import ssl
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

PEM = Path(__file__).parent / "loopback.pem"
_CONFIG = {
    "params": {"vectors": {"dense": {"size": 16, "distance": "Cosine"}}},
    "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10},
    "optimizer_config": {
        "deleted_threshold": 0.2,
        "vacuum_min_vector_number": 1,
        "default_segment_number": 0,
        "flush_interval_sec": 5,
    },
}
_INFO = {"status": "green", "optimizer_status": "ok", "segments_count": 1, "payload_schema": {}}
_DONE = {"operation_id": 1, "status": "completed"}
_LONGEST = 20.0  # seconds that a request hangs at most, so that a failing test ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent back.

    Args:
        status: The status.
        body: The body, as it goes over the wire.
        kind: Its content type.
        headers: Further headers.
        cut: How many bytes of the body are announced and never sent.
    """

    status: int = 200
    body: str = ""
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """Nothing is sent until the server is released; one byte at a time if it drips."""

    drips: bool = False


class FaultServer(ThreadingHTTPServer):
    """Takes one fault for each request; without one it answers as Qdrant does.

    Attributes:
        faults: What comes next.
        always: What comes when there is no next one; None for Qdrant's own answers.
        only: How the requests begin that faults are for.
        card: What the metadata of every collection hold; None if there is no collection.
        asked: The requests so far.
        keys: The API keys that came with them.
        headers: All headers of the latest request, with names in small letters.
        hanging: Set when a request hangs.
        released: Set it to let go of what hangs.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # connections at once, or the system refuses some by itself

    def __init__(self, *, encrypted: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults: deque[Answer | Hang] = deque()
        self.always: Answer | Hang | None = None
        self.only = ""
        self.card: str | None = None
        self.asked: list[str] = []
        self.keys: list[str | None] = []
        self.headers: dict[str, str] = {}
        self.hanging = Event()
        self.released = Event()
        self.scheme = "http"
        if encrypted:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(PEM)
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
            self.scheme = "https"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: clients that give up close their connections."""

    def next_fault(self, request: str) -> Answer | Hang | None:
        """Return what goes wrong with a request."""
        if not request.startswith(self.only):
            return None
        return self.faults.popleft() if self.faults else self.always

    def qdrant(self, request: str) -> Answer:
        """Return what Qdrant answers."""
        match request.split():
            case ["GET", "/"]:
                return _json({"title": "qdrant - vector search engine", "version": "1.19.0"})
            case ["PUT", path] if path.endswith("/points"):
                return _json({"result": _DONE, "status": "ok", "time": 0.0})
            case [_, path] if (result := self._result(path.split("/")[2:])) is not None:
                return _json({"result": result, "status": "ok", "time": 0.0})
            case _:
                return refused(404, f"no route for {request}")

    def _result(self, path: list[str]) -> object:
        match path:
            case []:
                return {"collections": [], "aliases": []}
            case [_, "exists"]:
                return {"exists": self.card is not None}
            case [name]:
                return {**_INFO, "config": {**_CONFIG, "metadata": _metadata(name, self.card)}}
            case [_, "points", "count"]:
                return {"count": 7}
            case [_, "points", "scroll" | "query"]:
                return {"points": []}
            case [_, "points"]:
                return []
            case [_, "points", "delete"]:
                return _DONE
            case [_, "points", "batch"]:
                return [_DONE]
            case _:
                return None


@contextmanager
def running(server: FaultServer) -> Iterator[FaultServer]:
    """Serve inside the block."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def refused(status: int, error: str, **headers: str) -> Answer:
    """Return an answer of Qdrant's that refuses."""
    body = json.dumps({"status": {"error": error}, "time": 0.0})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, body=body, headers=named)


def _metadata(name: str, card: str | None) -> dict[str, object]:
    return {} if card is None else {"decant": card, "decant_indexes": {}, "decant_name": name}


def _json(value: object) -> Answer:
    return Answer(body=json.dumps(value))


class _Handler(BaseHTTPRequestHandler):
    def do(self) -> None:
        server = self.server
        assert isinstance(server, FaultServer)
        self.rfile.read(int(self.headers.get("content-length", 0)))
        request = f"{self.command} {self.path.partition('?')[0]}"
        server.asked.append(request)
        server.keys.append(self.headers.get("api-key"))
        server.headers = {name.lower(): value for name, value in self.headers.items()}
        fault = server.next_fault(request)
        self.close_connection = True
        if isinstance(fault, Hang):
            self.hang(server, fault)
        else:
            self.answer(fault or server.qdrant(request))

    def hang(self, server: FaultServer, fault: Hang) -> None:
        if fault.drips:
            self.send_response(200)
            self.send_header("content-length", "1000000")
            self.end_headers()
        server.hanging.set()
        if not fault.drips:
            server.released.wait(_LONGEST)
            return
        for _ in range(int(_LONGEST / 0.05)):
            self.wfile.write(b" ")
            if server.released.wait(0.05):
                return

    def answer(self, answer: Answer) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        for name, value in {"content-type": answer.kind, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - answer.cut])

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do  # noqa: N815 (the base class's names)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""
