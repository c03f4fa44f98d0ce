"""A Qdrant server's double for timing: every request takes a fixed time, and requests are counted.

It runs in a process of its own, so that it takes no Python lock from what is timed. It keeps the
payloads of points by their ids, without vectors, and knows just enough of the protocol to create,
open and fill a collection: it does not search, and its scrolls find nothing, as in a collection
whose texts are all new. A request is read and carried out within its time, and so costs the client
the same however large it is.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import from_json, to_json

_OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "flush_interval_sec": 5,
}
_HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the server was asked since it last gave account.

    Args:
        requests: How many requests came, by method and end of the path.
        points: How many points of each kind are held, of all collections; "" without a kind.
    """

    requests: dict[str, int]
    points: dict[str, int]


class SlowServer:
    """The server in its process, as seen from here."""

    def __init__(self, port: int, pipe: Connection) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._pipe = pipe

    def account(self) -> Account:
        """Return what was asked since the last call, and forget it and all points."""
        self._pipe.send("account")
        requests, points = self._pipe.recv()
        return Account(requests=requests, points=points)


@contextmanager
def slow_server(delay: float) -> Iterator[SlowServer]:
    """Yield a server that answers each request after ``delay`` seconds."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(delay, there), daemon=True)
    process.start()
    try:
        yield SlowServer(here.recv(), here)
        here.send("end")
    finally:
        process.join(10)
        process.kill()


def _serve(delay: float, pipe: Connection) -> None:
    server = _Server(delay)
    Thread(target=server.serve_forever, daemon=True).start()
    pipe.send(server.server_address[1])
    while pipe.recv() == "account":
        pipe.send(server.account())


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def __init__(self, delay: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.delay = delay
        self._lock = Lock()
        self._configs: dict[str, dict[str, Any]] = {}
        self._points: dict[str, dict[str, Any]] = {}
        self._requests: Counter[str] = Counter()

    def account(self) -> tuple[dict[str, int], dict[str, int]]:
        with self._lock:
            payloads = [it for held in self._points.values() for it in held.values()]
            kinds = Counter(str(it.get("kind", "")) for it in payloads)
            found = dict(self._requests), dict(kinds)
            self._requests.clear()
            self._points = {name: {} for name in self._points}
            return found

    def answer(self, method: str, path: list[str], body: dict[str, Any]) -> object:
        with self._lock:
            self._requests[" ".join([method, *path[2:]]) or method] += 1
            match method, path:
                case "GET", [""]:
                    return None
                case "GET", ["collections", name, "exists"]:
                    return {"exists": name in self._configs}
                case "GET", ["aliases"] | ["collections", _, "aliases"]:
                    return {"aliases": []}
                case "GET", ["collections"]:
                    return {"collections": [{"name": name} for name in self._configs]}
                case "PUT", ["collections", name]:
                    self._configs[name], self._points[name] = body, {}
                    return True
                case "GET", ["collections", name]:
                    return self._info(name)
                case _, ["collections", name, "points", *rest]:
                    return self._on_points(method, rest, self._points[name], body)
                case _:
                    return _DONE

    def _on_points(
        self, method: str, rest: list[str], held: dict[str, Any], body: dict[str, Any]
    ) -> object:
        match method, rest:
            case "PUT", []:
                held.update((it["id"], it["payload"]) for it in body["points"])
                return _DONE
            case "POST", ["batch"]:
                for operation in body["operations"]:
                    if "upsert" in operation:
                        found = operation["upsert"]["points"]
                        held.update((it["id"], it["payload"]) for it in found)
                    elif "delete" in operation:
                        for identity in operation["delete"]["points"]:
                            held.pop(identity, None)
                return [_DONE for _ in body["operations"]]
            case "POST", []:
                ids = body["ids"]
                return [{"id": it, "payload": held[it]} for it in ids if it in held]
            case "POST", ["scroll"]:
                return {"points": [], "next_page_offset": None}
            case "POST", ["count"]:
                return {"count": len(held)}
            case _:
                return _DONE

    def _info(self, name: str) -> dict[str, Any]:
        made = self._configs[name]
        return {
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": 0,
            "points_count": len(self._points[name]),
            "segments_count": 2,
            "config": {
                "params": {
                    "vectors": made["vectors"],
                    "shard_number": 1,
                    "replication_factor": 1,
                    "write_consistency_factor": 1,
                    "on_disk_payload": True,
                },
                "hnsw_config": _HNSW | (made.get("hnsw_config") or {}),
                "optimizer_config": _OPTIMIZERS,
                "wal_config": {"wal_capacity_mb": 32, "wal_segments_ahead": 0},
                "metadata": made.get("metadata"),
            },
            "payload_schema": {},
            "update_queue": {"length": 0},
        }


_DONE = {"operation_id": 1, "status": "completed"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536  # one packet an answer, or each would wait for the last one's receipt

    def do(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        began = time.monotonic()
        path = urlsplit(self.path).path.strip("/").split("/")
        found = server.answer(self.command, path, from_json(body) if body else {})
        if path == [""]:
            said = json.dumps({"title": "qdrant", "version": "1.19.0", "commit": ""}).encode()
        else:
            said = to_json({"result": found, "status": "ok", "time": 0.0})
        time.sleep(max(0.0, server.delay - (time.monotonic() - began)))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do  # noqa: N815 (the base class's names)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""
