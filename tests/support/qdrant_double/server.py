"""The double's port: HTTP/1.1 over loopback, keys, the largest body, faults, and what was asked."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from .answers import Answer, Refused, shown, succeeded
from .engine import Engine
from .inference import Inferred, Service, infer
from .json_reading import read_json
from .snapshots import answer_snapshots

LARGEST_BODY = 33_554_432
_READS = {("GET",), ("POST", "query"), ("POST", "scroll"), ("POST", "count"), ("POST", "points")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that came, and how it was answered."""

    method: str
    path: str
    parameters: Mapping[str, str]
    body: Any
    size: int
    status: int | None
    trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to a request instead of its answer.

    Args:
        status: What is answered; None: nothing, the connection is dropped.
        said: The sentence.
        is_carried_out: Whether the request is carried out before.
    """

    status: int | None = 503
    said: str = "the server is busy"
    is_carried_out: bool = False


class QdrantDouble(ThreadingHTTPServer):
    """A server on a loopback port; use it in a ``with`` block.

    Attributes:
        keys: The keys that may do everything; without any, none is needed.
        read_only_keys: The keys that may read.
        nodes_down: How many of the three replicas of everything are away.
        delay: Seconds before each answer.
        before: Called with the method and the path of each request, before it is carried out.
        faults: Taken by the next requests, one each; None lets one pass.
        asked: What came, in order.
        engine: The collections.
        inference: The service that makes vectors of texts; None: none is configured.
        inference_token: The token that goes to it.
    """

    request_queue_size = 128

    def __init__(self, strict: Mapping[str, Any] | None = None, *, version: str = "1.19.0") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keys: set[str] = set()
        self.read_only_keys: set[str] = set()
        self.nodes_down = 0
        self.delay = 0.0
        self.before: Callable[[str, str], object] = lambda _method, _path: None
        self.faults: deque[Fault | None] = deque()
        self.asked: list[Asked] = []
        self.inference: Service | None = None
        self.inference_token: str | None = None
        self.engine = Engine({"enabled": True, **strict} if strict else {}, version)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))

    @property
    def version(self) -> str:
        """What it says its version is, which also decides what it can do."""
        return self.engine.version

    @version.setter
    def version(self, version: str) -> None:
        self.engine.version = version

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End to answer."""
        self.shutdown()
        self._thread.join()
        self.engine.client.close()
        super().__exit__(kind, error, trace)

    def limit(self, name: str, **limits: Any) -> None:
        """Set limits of strict mode for a collection, and no others."""
        self.engine.named(name)[1].strict.limits = {"enabled": True, **limits} if limits else {}

    def requests(self, method: str, ending: str) -> list[Asked]:
        """Return the requests that came by this method, to paths that end so."""
        return [it for it in self.asked if it.method == method and it.path.endswith(ending)]

    def answer(
        self,
        method: str,
        target: str,
        body: bytes,
        key: str | None,
        *,
        is_limited: bool = True,
        trace: str | None = None,
    ) -> Answer | None:
        """Return what goes back for a request; None drops the connection."""
        if self.delay:
            time.sleep(self.delay)
        parts = urlsplit(target)
        self.before(method, parts.path)
        parameters = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        path = [unquote(part) for part in parts.path.strip("/").split("/")]
        fault = self.faults.popleft() if self.faults else None
        loaded: Any = None
        try:
            if fault is not None and not fault.is_carried_out:
                raise _broken(fault)
            self._check_key(method, path, key)
            if is_limited:
                _check_size(len(body))
            loaded = read_json(body) if body else None
            self._check_replicas(parameters)
            inferred = self._infer(method, path, loaded)
            with self._lock:
                answer: Answer | None = self._carry_out(method, path, inferred)
            if fault is not None:
                raise _broken(fault)
        except Refused as refusal:
            answer = None if refusal.status == 0 else refusal.answer()
        status = None if answer is None else answer.status
        self.asked.append(
            Asked(method=method, path=parts.path, parameters=parameters, body=loaded,
                  size=len(body), status=status, trace=trace)
        )  # fmt: skip
        return answer

    def _check_key(self, method: str, path: list[str], key: str | None) -> None:
        if path == [""] or not (self.keys or self.read_only_keys):
            return
        if key is None:
            said = "Must provide an API key or an Authorization bearer token"
            raise Refused(401, said, plain=True)
        if key in self.keys:
            return
        if key not in self.read_only_keys:
            raise Refused(401, "Invalid API key or JWT", plain=True)
        last = "query" if path[-2:] == ["query", "batch"] else path[-1]
        if (method,) not in _READS and (method, last) not in _READS:
            raise Refused(403, "Forbidden: Global manage access is required")

    def _check_replicas(self, parameters: Mapping[str, str]) -> None:
        if self.nodes_down and parameters.get("consistency") == "majority":
            raise Refused(
                500, f"Service internal error: {self.nodes_down} of 3 read operations failed"
            )

    def _infer(self, method: str, path: list[str], body: Any) -> Inferred:
        if path[:1] != ["collections"] or path[2:3] != ["points"]:
            return Inferred(body=body)
        purpose = "search" if "query" in path[3:] else "update"
        token = self.inference_token
        return infer(body, purpose, service=self.inference, token=token)

    def _carry_out(  # noqa: C901 - a case for each route
        self, method: str, path: list[str], inferred: Inferred
    ) -> Answer:
        engine, body = self.engine, inferred.body
        match method, path:
            case "GET", [""]:
                return shown(
                    {"title": "qdrant - vector search engine", "version": self.version,
                     "commit": "0" * 40}
                )  # fmt: skip
            case "GET", ["collections"]:
                return succeeded({"collections": [{"name": name} for name in engine.held]})
            case "GET", ["aliases"]:
                return succeeded({"aliases": _aliases(engine.aliases)})
            case "POST", ["collections", "aliases"]:
                return succeeded(engine.change_aliases(body))
            case "GET", ["collections", name, "exists"]:
                return succeeded({"exists": name in engine.held or name in engine.aliases})
            case "GET", ["collections", name, "aliases"]:
                real, _ = engine.named(name)
                held = {a: n for a, n in engine.aliases.items() if n == real}
                return succeeded({"aliases": _aliases(held)})
            case _, ["collections", name] | ["collections", name, "cluster"]:
                return succeeded(_collection(engine, (method, *path[2:]), name, body))
            case "PUT" | "DELETE", ["collections", name, "index" | "shards" as part, *field]:
                change = _index if part == "index" else _shards
                return succeeded(change(engine, name, field, body))
            case _, ["collections", name, "snapshots", *rest]:
                return answer_snapshots(engine, (method, *rest), name, body)
            case _, ["collections", name, "points", *rest]:
                return succeeded(_points(engine, (method, *rest), name, body), inferred.usage)
            case _:
                raise _no_route()


def _collection(engine: Engine, route: tuple[str, ...], name: str, body: Any) -> Any:
    match route:
        case ("GET",):
            return engine.info(name)
        case ("GET", "cluster"):
            return engine.cluster(name)
        case ("PUT",):
            return engine.create(name, body)
        case ("PATCH",):
            return engine.update(name, body)
        case ("DELETE",):
            return engine.drop(name)
        case _:
            raise _no_route()


def _index(engine: Engine, name: str, field: list[str], body: Any) -> Any:
    if field:
        return engine.drop_index(name, field[0])
    return engine.add_index(name, body["field_name"], body["field_schema"])


def _shards(engine: Engine, name: str, field: list[str], body: Any) -> Any:
    if field:
        raise _no_route()
    return engine.add_shard_key(name, body["shard_key"])


def _points(engine: Engine, route: tuple[str, ...], name: str, body: Any) -> Any:
    calls = {
        ("PUT",): engine.upsert,
        ("POST",): engine.retrieve,
        ("POST", "batch"): engine.change,
        ("POST", "payload"): engine.set_payload,
        ("POST", "delete"): engine.delete,
        ("POST", "scroll"): engine.scroll,
        ("POST", "count"): engine.count,
        ("POST", "query"): engine.query,
        ("POST", "query", "batch"): engine.query_batch,
    }
    if (call := calls.get(route)) is None:
        raise _no_route()
    return call(name, body)


def _aliases(held: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"alias_name": alias, "collection_name": name} for alias, name in held.items()]


def _no_route() -> Refused:
    return Refused(404, "", plain=True)


def _broken(fault: Fault) -> Refused:
    return Refused(fault.status or 0, fault.said)


def _check_size(size: int) -> None:
    if size > LARGEST_BODY:
        raise Refused(
            400,
            f"JSON payload ({size} bytes) is larger than allowed (limit: {LARGEST_BODY} bytes).",
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65_536  # one packet an answer, or each would wait for the last one's receipt

    def do(self) -> None:
        assert isinstance(self.server, QdrantDouble)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        bearer = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        key = self.headers.get("api-key") or bearer or None
        trace = self.headers.get("traceparent")
        answer = self.server.answer(self.command, self.path, body, key, trace=trace)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do  # noqa: N815 (the base class's names)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep quiet."""
