"""Encoders behind a real port, and a server that fails as servers and proxies do."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from decant.embedders import Encoder
from decant.serving import ServedModel, create_app
from threads import in_thread, wait_until

_LONGEST = 20.0  # seconds without an answer at most, so that a failing test ends
PEM = Path(__file__).parent / "loopback.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What is answered in place of the application.

    Args:
        status: The status.
        body: The body.
        kind: Its content type.
        headers: Further headers.
        cut: How many bytes of the body are announced and never sent.
    """

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that came in."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class FaultyServer:
    """An application that fails as often as it is told to, and otherwise answers.

    Attributes:
        app: What answers.
        faults: What is answered in its place, in order, to requests for vectors.
        asked: The requests for vectors so far.
        flows: Cleared, requests for vectors get no answer until it is set.
        most_underway: The most requests for vectors at a time.
        path: The end of the path of requests for vectors.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.faults: deque[Reply] = deque()
        self.asked: list[Asked] = []
        self.flows = Event()
        self.flows.set()
        self.most_underway = 0
        self.url = ""
        self.path = "/encode"
        self._underway = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or not scope["path"].endswith(self.path):
            await self.app(scope, receive, send)
            return
        self._underway += 1
        self.most_underway = max(self.most_underway, self._underway)
        try:
            await self._answer(scope, receive, send)
        finally:
            self._underway -= 1

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append(Asked(path=scope["path"], headers=headers, body=body))
        if not self.flows.is_set():
            await asyncio.to_thread(self.flows.wait, _LONGEST)
        if self.faults:
            await _send(self.faults.popleft(), send)
            return
        given: deque[Message] = deque([{"type": "http.request", "body": body}])

        async def again() -> Message:
            return given.popleft() if given else await receive()

        await self.app(scope, again, send)


async def _send(reply: Reply, send: Send) -> None:
    headers = {"content-type": reply.kind, **reply.headers}
    headers["content-length"] = str(len(reply.body))
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    body = reply.body[: len(reply.body) - reply.cut]
    await send({"type": "http.response.body", "body": body})


def refusal(status: int, message: str, **headers: str) -> Reply:
    """Return an error as decant writes it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"error": message}).encode()
    return Reply(status=status, body=body, headers=named)


@contextmanager
def listening(app: ASGIApp, *, encrypted: bool = False) -> Iterator[str]:
    """Serve an application on a free port, and yield its address."""
    certificate = str(PEM) if encrypted else None
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        log_level="critical",
        access_log=False,
        ssl_certfile=certificate,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = in_thread(server.run)
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"{'https' if encrypted else 'http'}://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def served(encoder: Encoder, name: str = "tiny") -> Iterator[str]:
    """Serve one encoder, and yield the address."""
    app: Starlette = create_app([ServedModel(name=name, encoder=encoder)])
    with listening(app) as url:
        yield url


@contextmanager
def faulty(app: ASGIApp) -> Iterator[FaultyServer]:
    """Serve an application behind a server that can fail."""
    server = FaultyServer(app)
    with listening(server) as url:
        server.url = url
        try:
            yield server
        finally:
            server.flows.set()
