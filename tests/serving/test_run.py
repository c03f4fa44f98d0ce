"""A server on a port: clients at the same time, clients that go, and the end of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, RemoteDisconnected

import numpy as np
import pytest

from decant.embedders import HashEncoder, Role
from decant.serving import is_loopback
from decant.serving.run import listener as listening_socket

# The encoder tells on standard output when a pass begins; each line of standard input ends one.
SERVER = """
import sys
from decant.embedders import HashEncoder
from decant.serving import (
    ConnectionLimits, QueueSettings, ServedModel, ServerSettings, create_app, run_server
)

class Stepped(HashEncoder):
    def encode(self, texts, **options):
        if texts[0].startswith("step"):
            print("pass", *texts, sep="|", flush=True)
            sys.stdin.readline()
        return super().encode(texts, **options)

settings = ServerSettings(queue=QueueSettings(pass_tokens=8))
app = create_app([ServedModel(name="m", encoder=Stepped(dim=DIM))], settings=settings)
limits = ConnectionLimits(stop_seconds=STOP)
cut = run_server(app, port=0, limits=limits, on_listening=lambda port: print(port, flush=True))
print("stopped", cut, flush=True)
"""


def script(*, port: int = 0, dim: int = 4, stop_seconds: float = 60.0) -> str:
    """Return the program of a server."""
    chosen = SERVER.replace("DIM", str(dim)).replace("STOP", str(stop_seconds))
    return chosen.replace("port=0", f"port={port}")


class Running:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = int(self.line())

    def line(self) -> str:
        """Return the next line that it writes."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def step(self) -> None:
        """Let the pass that is under way end."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def embed(self, *texts: str) -> tuple[int, object]:
        """Return status and body of the answer to texts."""
        with self.connection() as connection:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/embed", json.dumps({"inputs": texts}), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def metrics(self) -> list[str]:
        """Return the lines of the metrics."""
        with self.connection() as connection:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode().splitlines()

    def connection(self) -> closing[HTTPConnection]:
        """Return a connection that is closed at the end of its block."""
        return closing(HTTPConnection("127.0.0.1", self.port, timeout=20))


@contextmanager
def running(*, dim: int = 4, stop_seconds: float = 60.0) -> Iterator[Running]:
    """Start a server, and end it."""
    with subprocess.Popen(
        [sys.executable, "-c", script(dim=dim, stop_seconds=stop_seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


def until(server: Running, line: str) -> None:
    """Ask for metrics until they hold a line."""
    for _ in range(2_000):
        if line in server.metrics():
            return
    raise AssertionError(f"the metrics never held {line}")


def test_clients_at_the_same_time_get_their_own_vectors() -> None:
    texts = [f"text of client {n}" for n in range(64)]
    with running() as server, ThreadPoolExecutor(16) as pool:
        answers = [*pool.map(server.embed, texts)]
    expected = HashEncoder(dim=4).encode(texts, role=Role.QUERY).dense
    for (status, rows), row in zip(answers, expected, strict=True):
        assert status == 200
        assert np.array_equal(np.array(rows, np.float32)[0], row)


def test_sigterm_answers_every_accepted_request_and_takes_no_other() -> None:
    with running() as server, ThreadPoolExecutor(8) as pool:
        first = pool.submit(server.embed, "step one")
        assert server.line() == "pass|step one"
        others = [pool.submit(server.embed, f"text {n}") for n in range(7)]
        until(server, 'decant_waiting_tokens{lane="short",model="m"} 14.0')
        server.process.send_signal(signal.SIGTERM)
        refused = refuses(server.port)
        server.step()
        found = [one.result() for one in (first, *others)]
        assert server.line() == "stopped 0"
        assert server.process.wait(20) == 0
    assert refused
    assert [status for status, _ in found] == [200] * 8


def test_clients_that_do_not_read_or_do_not_ask_do_not_hold_the_end() -> None:
    texts = [f"text {n}" for n in range(800)]
    with (
        running(dim=1_280, stop_seconds=0.5) as server,
        server.connection() as unread,
        closing(socket.create_connection(("127.0.0.1", server.port))) as silent,
    ):
        silent.sendall(b"POST /embed HTTP/1.1\r\nHost: a\r\n")
        headers = {"Content-Type": "application/json"}
        unread.request("POST", "/embed", json.dumps({"inputs": texts}), headers)
        until(server, 'decant_requests_total{route="/embed",status="200"} 1.0')
        server.process.send_signal(signal.SIGTERM)
        assert server.line() == "stopped 1"
        assert server.process.wait(20) == 0


def test_what_is_not_answered_in_the_time_of_stopping_is_cut_off_and_counted() -> None:
    with running(stop_seconds=0.2) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.embed, "step one")
        assert server.line() == "pass|step one"
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(RemoteDisconnected):
            first.result()
        server.step()
        assert server.line() == "stopped 1"
        assert server.process.wait(20) == 0


def refuses(port: int) -> bool:
    """Connect until nobody listens."""
    for _ in range(100_000):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=20).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            continue
    return False


def test_the_texts_of_a_client_that_goes_are_not_embedded() -> None:
    with running() as server, ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.embed, "step one")
        assert server.line() == "pass|step one"
        gone = HTTPConnection("127.0.0.1", server.port, timeout=20)
        body = json.dumps({"inputs": ["step away"] * 1 + ["a b c"]})
        gone.request("POST", "/embed", body, {"Content-Type": "application/json"})
        until(server, 'decant_waiting_tokens{lane="short",model="m"} 5.0')
        gone.close()
        until(server, 'decant_waiting_tokens{lane="short",model="m"} 0.0')
        server.step()
        assert first.result()[0] == 200
        last = pool.submit(server.embed, "step last")
        assert server.line() == "pass|step last"
        server.step()
        assert last.result()[0] == 200


def test_a_port_that_is_taken_is_an_error_with_its_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        program = script(port=taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    assert "OSError" in done.stderr
    assert "Address already in use" in done.stderr


def test_short_answers_are_not_held_back_by_nagles_algorithm() -> None:
    """Asyncio turns it off for connections of the named protocol alone."""
    with (
        listening_socket("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.proto == socket.IPPROTO_TCP


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("localhost", True), ("::1", True),
     ("0.0.0.0", False), ("::", False), ("192.168.0.4", False), ("encoder.internal", False)],
)  # fmt: skip
def test_loopback_is_what_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
