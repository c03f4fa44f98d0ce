"""What clients may send by mistake or on purpose, over a real port: a clear status, nothing leaked.

Whatever comes, a text and a key that are in it are in no log, no metric, no answer and nothing that
the process writes, and neither is a stack trace; and the server answers the next client.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection

import pytest

from decant.embedders import HashEncoder
from decant.serving import ApiKeys, ConnectionLimits, ServedModel, ServerSettings, create_app
from served_app import Served, served
from threads import wait_until

SECRET, KEY, WRONG = "text-of-a-client", "a-key-of-some-length", "a-wrong-key-of-some-length"
SIZE = 4_000_000
DIM, ROWS = 256, 4_000
LEAST_ANSWER = 8 * DIM * ROWS
TEXT = json.dumps({"inputs": SECRET}).encode()
HEAD = b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
KEYED = HEAD + b"X-Api-Key: " + KEY.encode() + b"\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """Serve a model to those that have a key, with little patience."""
    app = create_app(
        [ServedModel(name="minilm", encoder=HashEncoder(dim=DIM))],
        settings=ServerSettings(body_bytes=SIZE, body_seconds=0.2),
        keys=ApiKeys.of([KEY]),
    )
    with served(app, ConnectionLimits(connections=4, head_seconds=0.3, read_seconds=0.3)) as found:
        yield found


@pytest.fixture(autouse=True)
def discreet(
    server: Served, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Check after each test that nothing was leaked, and that the server still answers."""
    with caplog.at_level(logging.DEBUG):
        yield
    metrics = request(server, "GET", "/metrics", headers={"X-Api-Key": KEY})
    assert metrics[0] == 200
    shown = capfd.readouterr()
    for told in (caplog.text, shown.out, shown.err, metrics[1]):
        for secret in (SECRET, KEY, WRONG, "Traceback"):
            assert secret not in told


def request(
    server: Served, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """Return status and body of the answer to a request."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def post(server: Served, body: bytes, *, kind: str = "application/json") -> tuple[int, str]:
    """Return status and body of the answer to a body, sent with a right key."""
    headers = {"Content-Type": kind, "Authorization": f"Bearer {KEY}"}
    return request(server, "POST", "/embed", body, headers)


def exchanged(server: Served, *parts: bytes) -> bytes:
    """Send bytes as they are, and return everything that comes until the server closes."""
    with server.connect() as connection:
        for part in parts:
            connection.sendall(part)
        return read(connection)


def first_line(server: Served, sent: bytes) -> bytes:
    """Send bytes as they are, and return the beginning of the answer."""
    with server.connect() as connection:
        connection.sendall(sent)
        return connection.recv(20, socket.MSG_WAITALL)


def read(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes, or cuts off."""
    found = bytearray()
    try:
        while part := connection.recv(65_536):
            found += part
    except ConnectionResetError:
        pass
    return bytes(found)


def framed(body: bytes) -> bytes:
    """Return a right request with a body."""
    return KEYED + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (TEXT[:-1], 400),
        (TEXT + b"}", 400),
        (b'{"inputs": NaN}', 400),
        (b'{"inputs": [Infinity]}', 400),
        (b'{"inputs": "text-of-a-client \\ud800"}', 400),
        (b'{"inputs": "text-of-a-client \xed\xa0\x80"}', 400),
        (b'{"inputs": ["text-of-a-client", 1e999]}', 400),
        (b'{"inputs": ' + b"[" * 1_000_000, 400),
        (b'{"inputs": ' + b"[" * 900 + b"]" * 900 + b"}", 400),
        (b'{"text-of-a' + b"-client" * 50_000 + b'": 1}', 400),
        (json.dumps({"inputs": SECRET * 125_000}).encode(), 413),  # two megabytes of one word
        (json.dumps({"inputs": [SECRET] * 10_001}).encode(), 413),
        (b" " * (SIZE + 1), 413),
    ],
    ids=["empty", "open", "cut", "more", "nan", "infinity", "surrogate", "raw surrogate", "1e999",
         "deep", "deep and closed", "long key", "one word", "texts", "large"],
)  # fmt: skip
def test_a_bad_body_is_refused_without_being_repeated(
    body: bytes, status: int, server: Served
) -> None:
    found, answer = post(server, body)
    assert found == status
    assert set(json.loads(answer)) == {"error", "error_type"}
    assert len(answer) < 400
    assert SECRET * 2 not in answer
    assert post(server, TEXT)[0] == 200


def test_another_content_type_or_key_is_refused_before_the_body_is_read(server: Served) -> None:
    assert post(server, TEXT, kind="text/plain")[0] == 415
    for scheme in ("Bearer ", "Basic ", ""):
        headers = {"Content-Type": "application/json", "Authorization": scheme + WRONG}
        status, answer = request(server, "POST", "/embed", TEXT, headers)
        assert status == 401
        assert WRONG not in answer
    assert b" 401 " in first_line(server, HEAD + b"Content-Length: 999999999\r\n\r\n")


def test_an_announced_length_above_the_limit_is_refused_before_the_body_comes(
    server: Served,
) -> None:
    assert b" 413 " in first_line(server, KEYED + b"Content-Length: 99999999999999\r\n\r\n")


def test_a_body_that_comes_too_slowly_is_a_408(server: Served) -> None:
    answer = exchanged(server, KEYED + b"Content-Length: 50\r\n\r\n" + TEXT)
    assert b" 408 " in answer[:20]
    assert b"the body did not come within 0.2 seconds" in answer
    assert SECRET.encode() not in answer


@pytest.mark.parametrize("sent", [b"", b"P", KEYED, b"GET /health"])
def test_a_client_that_does_not_send_its_headers_is_cut_off(sent: bytes, server: Served) -> None:
    answer = exchanged(server, sent)
    assert answer == b"" if not sent else b" 408 " in answer[:20]
    assert KEY.encode() not in answer


def test_headers_byte_by_byte_do_not_hold_a_connection(server: Served) -> None:
    """Every byte comes quickly, and there is no end to them."""
    with server.connect() as connection:
        connection.settimeout(0.01)
        answer = bytearray()
        for _ in range(2_000):
            try:
                connection.sendall(b"G")
                if part := connection.recv(4_096):
                    answer += part
                    continue
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            raise AssertionError("the connection was never closed")
    assert b" 408 " in answer[:20]


def test_headers_of_the_next_request_have_no_longer_time_than_the_first(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        found = b""
        while not found.endswith(b"\r\n\r\nok"):
            found += connection.recv(4_096)
        connection.sendall(KEYED)
        assert b" 408 " in read(connection)[:20]


def test_more_connections_than_the_limit_are_refused_and_then_closed(server: Served) -> None:
    opened = [server.connect() for _ in range(4)]
    try:
        status, _ = request(server, "GET", "/health")
        assert status == 503
        opened += [server.connect() for _ in range(8)]
        assert read(opened[-1]) == b""
    finally:
        for connection in opened:
            connection.close()
    wait_until(lambda: request(server, "GET", "/health")[0] == 200)


@pytest.mark.parametrize(
    "garbage",
    [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00" * 20, b"x" * 100_000,
     b"GET /%ff%00\xff HTTP/1.1\r\nHost: a\r\n\r\n",
     b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
     b"POST /embed HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"],
)  # fmt: skip
def test_garbage_is_a_400_alone_and_behind_a_right_request(garbage: bytes, server: Served) -> None:
    assert b" 400 " in exchanged(server, garbage)[:20]
    first, second = exchanged(server, framed(TEXT) + garbage).split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200 ")
    assert second.startswith(b"400 ")


def test_a_client_that_reads_nothing_of_its_answer_is_cut_off(server: Served) -> None:
    with asked_and_unread(server) as connection:
        wait_until(lambda: not server.server.server_state.connections)
        assert 0 < len(read(connection)) < LEAST_ANSWER  # what was in flight, then the cut


def asked_and_unread(server: Served) -> socket.socket:
    """Ask for an answer that no buffer of the system holds, and read none of it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", server.port))
    body = json.dumps({"inputs": [f"text {n}" for n in range(ROWS)]}).encode()
    connection.sendall(framed(body))
    wait_until(lambda: server.server.server_state.connections)
    return connection
