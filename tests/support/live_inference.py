"""What a live Qdrant server asks for vectors: a relay to ``decant serve``, or to a chosen fault.

The server is that of ``QDRANT_URL``. It must have been started with an ``inference.address`` that
names a port of this machine and the path ``/infer``, such as
``QDRANT__INFERENCE__ADDRESS=http://127.0.0.1:6901/infer``; ``QDRANT_INFERENCE_PORT`` is that port.
The relay listens there, at ``QDRANT_INFERENCE_HOST``, 127.0.0.1 if that is not set (a server in a
container reaches this machine by another address). ``decant serve`` itself runs on a free port.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from decant.integrations.qdrant.server.clients.addresses import DEFAULT_PORT, read_address
from qdrant_double import Service, ServiceAnswer

_KEPT = frozenset({"retry-after", "content-type"})


class InferenceRelay(ThreadingHTTPServer):
    """Answers a Qdrant server's requests with what a service says; use it in a ``with`` block.

    Attributes:
        service: What answers.
        asked: The bodies that came, in order.
    """

    request_queue_size = 64

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), _Handler)
        self.service: Service = lambda _: ServiceAnswer(status=503, body=b'{"error": "no service"}')
        self.asked: list[Any] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, InferenceRelay)
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
        self.server.asked.append(body)
        answer = self.server.service(body)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() in _KEPT:
                self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep quiet."""


@contextmanager
def relay_inference() -> Iterator[InferenceRelay]:
    """Yield a relay at the port that the server asks; skip the test where it asks none."""
    port = os.environ.get("QDRANT_INFERENCE_PORT")
    if not port:
        pytest.skip(
            "no inference: start the server with QDRANT__INFERENCE__ADDRESS=http://127.0.0.1:6901/"
            "infer, and set QDRANT_INFERENCE_PORT=6901"
        )
    host = os.environ.get("QDRANT_INFERENCE_HOST") or "127.0.0.1"
    with InferenceRelay(host, int(port)) as relay:
        thread = threading.Thread(target=relay.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()


@contextmanager
def decant_serve(*arguments: object) -> Iterator[Service]:
    """Run ``decant serve`` on a free port in a process of its own; yield what asks it."""
    words = ["serve", *map(str, arguments), "--port", "0", "--provider", "cpu"]
    command = [sys.executable, "-m", "decant.cli", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = ""
            while "listening" not in said and (line := process.stderr.readline()):
                said += line
            found = re.search(r"listening at http://127\.0\.0\.1:(\d+)", said)
            assert found is not None, said
            port = int(found[1])
            yield lambda body: ask_inference(port, body)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        finally:
            process.kill()


def ask_inference(port: int, body: Any) -> ServiceAnswer:
    """Return what ``decant serve`` at a port of this machine answers."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/infer", json.dumps(body), headers)
        answer = connection.getresponse()
        return ServiceAnswer(
            status=answer.status, body=answer.read(), headers=dict(answer.getheaders())
        )


@contextmanager
def live_client(transport: str) -> Iterator[QdrantClient]:
    """Yield a client of the live server as a user has it, which sends texts as they are."""
    url = os.environ["QDRANT_URL"]
    grpc_port = int(os.environ.get("QDRANT_GRPC_PORT") or 0)
    if not grpc_port and read_address(url).port == DEFAULT_PORT:
        grpc_port = 6334
    is_grpc = transport == "live-grpc"
    if is_grpc and not grpc_port:
        pytest.skip(f"where does the server at {url} speak gRPC? set QDRANT_GRPC_PORT")
    options: dict[str, Any] = {"prefer_grpc": True, "grpc_port": grpc_port} if is_grpc else {}
    if ca := os.environ.get("QDRANT_CA"):
        options["verify"] = ca
        if is_grpc:
            options["grpc_options"] = {"root_certificates": Path(ca).read_bytes()}
    client = QdrantClient(
        url=url,
        api_key=os.environ.get("QDRANT_API_KEY") or None,
        cloud_inference=True,
        timeout=60,
        check_compatibility=False,
        **options,
    )
    try:
        yield client
    finally:
        client.close()
