"""Servers and proxies fail as they do: what is asked again, what is refused, and what is said."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import (
    BundleError,
    HashEncoder,
    ParityError,
    ProviderError,
    RecipeError,
    RemoteAccess,
    RemoteEncoder,
    RemoteError,
    Role,
    TextError,
    Vectors,
)
from decant.embedders.remote import pack_vectors
from decant.embedders.remote.client import Backoff, EncoderClient
from decant.embedders.remote.faults import fault_of_error, retry_after
from decant.serving import (
    ApiKeys,
    ServedModel,
    create_app,
)
from served_encoder import FaultyServer, Reply, faulty, refusal
from threads import in_thread, wait_until

KEY = "a-key-of-some-length"
LOCAL = HashEncoder(dim=8, max_tokens=64, sparse=True)
PAGE = b"<!doctype html><title>Gateway</title>"


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    """Serve an encoder; its keys, so that what is sent can be looked for."""
    keys = ApiKeys.of([KEY])
    with faulty(create_app([ServedModel(name="m", encoder=LOCAL)], keys=keys)) as found:
        yield found


@pytest.fixture
def encoder(server: FaultyServer) -> Iterator[RemoteEncoder]:
    with RemoteEncoder.connect(server.url, access=RemoteAccess(api_key=KEY)) as found:
        server.asked.clear()
        yield found


def rows(encoder: RemoteEncoder, *texts: str) -> object:
    """Return the dense vectors of some passages."""
    return encoder.encode(texts or ["a river"], role=Role.PASSAGE).dense.tolist()


WANTED = LOCAL.encode(["a river"], role=Role.PASSAGE).dense.tolist()


@pytest.mark.parametrize(
    "faults",
    [
        [refusal(429, "busy", retry_after="0")],
        [refusal(503, "stopping")],
        [Reply(status=502, body=PAGE, kind="text/html"), Reply(status=504)],
        [Reply(body=b"x" * 1_000, cut=500)],
        [refusal(429, "busy", retry_after="0")] * 12,
    ],
    ids=["busy", "stopping", "a proxy", "cut in the middle", "busy for long"],
)
def test_what_passes_is_asked_again(
    faults: list[Reply], server: FaultyServer, encoder: RemoteEncoder
) -> None:
    server.faults.extend(faults)
    assert rows(encoder) == WANTED
    assert len(server.asked) == len(faults) + 1
    assert len({one.body for one in server.asked}) == 1


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        (refusal(400, "no such thing"), RemoteError, r"400 .*no such thing"),
        (refusal(401, "the API key is wrong"), RemoteError, r"401 .*DECANT_API_KEY"),
        (refusal(500, "it failed"), RemoteError, r"500 .*it failed"),
        (refusal(404, "Not Found"), RemoteError, r"404 .*decant serve"),
        (Reply(body=PAGE, kind="text/html"), RemoteError, r"web page"),
        (Reply(status=413, body=PAGE, kind="text/html"), TextError, r"text 0 is larger"),
        (
            Reply(status=307, headers={"location": "https://u:p@other/encode?token=t"}),
            RemoteError,
            r"307 .*points to 'other/encode'",
        ),
        (Reply(body=b"{}"), RemoteError, r"vectors that cannot be read"),
        (Reply(body=b""), RemoteError, r"vectors that cannot be read"),
        (Reply(body=b"x" * 3_000_000), RemoteError, r"more than .* bytes"),
    ],
)
def test_what_does_not_pass_is_asked_once(
    reply: Reply,
    error: type[Exception],
    message: str,
    server: FaultyServer,
    encoder: RemoteEncoder,
) -> None:
    server.faults.append(reply)
    with pytest.raises(error, match=message) as caught:
        rows(encoder)
    assert len(server.asked) == 1
    assert KEY not in str(caught.value)
    assert "u:p" not in str(caught.value)
    assert rows(encoder) == WANTED


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("text", 400, TextError),
        ("instruction", 400, RecipeError),
        ("other_model", 409, BundleError),
        ("not_finite", 500, ParityError),
        ("failed", 500, RemoteError),
        ("of the future", 400, RemoteError),
    ],
)
def test_a_refusal_is_the_error_that_the_encoder_itself_raises(
    kind: str, status: int, error: type[Exception], server: FaultyServer, encoder: RemoteEncoder
) -> None:
    body = json.dumps({"error": "so it is", "kind": kind}).encode()
    server.faults.append(Reply(status=status, body=body))
    with pytest.raises(error, match="so it is"):
        rows(encoder)
    assert len(server.asked) == 1


def archive(dense: NDArray[np.float32]) -> bytes:
    """Return an answer that holds these dense vectors."""
    return pack_vectors(Vectors(dense=dense))


def compressed() -> bytes:
    """Return an archive that would grow a thousand times."""
    target = io.BytesIO()
    np.savez_compressed(target, dense=np.zeros((1, 10_000_000), np.float32))
    return target.getvalue()


def pickled() -> bytes:
    """Return an archive that runs code where pickles are allowed."""
    target = io.BytesIO()
    np.savez(target, dense=np.array([print], object), allow_pickle=True)
    return target.getvalue()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (archive(np.zeros((1, 9), np.float32)), r"dense is float32 of shape \(1, 9\)"),
        (archive(np.zeros((2, 8), np.float32)), r"dense is float32 of shape \(2, 8\)"),
        (archive(np.zeros((1, 8), np.float32))[:-40], r"vectors that cannot be read"),
        (compressed(), r"the archive is compressed"),
        (pickled(), r"allow_pickle"),
    ],
    ids=["width", "count", "short", "compressed", "pickled"],
)
def test_vectors_of_another_form_are_refused(
    body: bytes, message: str, server: FaultyServer, encoder: RemoteEncoder
) -> None:
    server.faults.append(Reply(body=body))
    with pytest.raises(RemoteError, match=message):
        rows(encoder)


def test_nan_is_refused_with_the_index_of_its_text(
    server: FaultyServer, encoder: RemoteEncoder
) -> None:
    dense = np.ones((3, 8), np.float32)
    dense[2, 5] = np.nan
    server.faults.append(Reply(body=archive(dense)))
    with pytest.raises(ParityError, match="the vector of text 2 holds NaN"):
        rows(encoder, "a", "b", "c")


def test_a_server_that_fails_for_long_is_given_up(server: FaultyServer) -> None:
    server.faults.extend([refusal(503, "stopping")] * 9)
    waits: list[float] = []
    access = RemoteAccess(api_key=KEY)
    client = EncoderClient(server.url, access, backoff=Backoff(attempts=4), wait=waits.append)
    with pytest.raises(RemoteError, match=r"no answer after 4 attempts.*503"):
        client.post("/encode", b"{}", most_bytes=1_000)
    client.close()
    assert len(server.asked) == 4
    assert [wait <= 0.25 * 2**n for n, wait in enumerate(waits)] == [True] * 3


def test_a_busy_server_is_waited_for_as_long_as_it_says(server: FaultyServer) -> None:
    server.faults.extend([refusal(429, "busy", retry_after="7")] * 20)
    waits: list[float] = []
    access = RemoteAccess(api_key=KEY, timeout=100)
    client = EncoderClient(server.url, access, wait=waits.append)
    answer = client.post("/encode", b"{}", most_bytes=1_000)
    assert answer.refusal == "request"  # in the end the server has read it
    assert len(waits) == 20
    assert all(7 <= wait <= 9 for wait in waits)
    server.faults.append(refusal(429, "busy", retry_after="200"))
    with pytest.raises(RemoteError, match=r"429.*busy"):
        client.post("/encode", b"{}", most_bytes=1_000)
    client.close()
    assert len(waits) == 20  # longer than the timeout: not waited for at all


def test_a_server_that_hangs_is_given_up_at_the_timeout(server: FaultyServer) -> None:
    access = RemoteAccess(api_key=KEY, timeout=2.0)
    with RemoteEncoder.connect(server.url, access=access) as encoder:
        server.flows.clear()
        began = time.monotonic()
        with pytest.raises(RemoteError, match="ReadTimeout"):
            rows(encoder)
        assert time.monotonic() - began < 4


def test_closing_ends_the_pauses_of_other_threads(
    server: FaultyServer, encoder: RemoteEncoder
) -> None:
    server.faults.append(refusal(429, "busy", retry_after="120"))
    found: list[BaseException] = []

    def work() -> None:
        try:
            rows(encoder)
        except ProviderError as error:
            found.append(error)

    thread = in_thread(work)
    wait_until(lambda: server.asked)
    encoder.close()
    thread.join(20)
    assert not thread.is_alive()
    assert "is closed" in str(found[0])


def test_nobody_at_the_port_is_said_with_the_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(RemoteError, match=r"ConnectError.*decant serve") as caught:
            RemoteEncoder.connect(url, access=RemoteAccess(timeout=1.0))
    assert url in str(caught.value)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://", "no address"),
        ("http://host name", "no address"),
        ("http://host:port", "no address"),
        ("http://host:0", "no address"),
        ("https://user:secret@host", "leave that out"),
        ("https://host/?key=secret", "leave that out"),
        ("https://user:secret@host:port", "no address"),
    ],
)
def test_what_is_no_address_is_refused_without_its_secrets(address: str, message: str) -> None:
    with pytest.raises(RemoteError, match=message) as caught:
        RemoteEncoder.connect(address)
    assert "secret" not in str(caught.value)


def test_settings_that_cannot_work_are_refused(tmp_path: object) -> None:
    for key in ("with blank", "line\nbreak", "ü-umlaut-in-it"):
        with pytest.raises(RemoteError, match="the API key holds") as caught:
            RemoteAccess(api_key=key)
        assert key not in str(caught.value)
    for timeout in (0, -1, float("inf"), float("nan")):
        with pytest.raises(RemoteError, match="timeout="):
            RemoteAccess(timeout=timeout)
    with pytest.raises(RemoteError, match="holds no certificate"):
        RemoteAccess(ca=__file__)
    with pytest.raises(RemoteError, match="cannot be read"):
        RemoteAccess(ca=f"{tmp_path}/nowhere.pem")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("0.5", 0.5), ("-3", 0), ("nan", None), ("inf", None), ("", None), (None, None)],
)
def test_retry_after_is_a_number(value: str | None, seconds: float | None) -> None:
    assert retry_after(value) == seconds


def test_retry_after_may_be_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("Thu, 01 Jan 2026 00:00:09 GMT", lambda: now) == 9
    assert retry_after("Wed, 31 Dec 2025 23:59:00 GMT", lambda: now) == 0


def test_errors_of_encryption_are_not_asked_again() -> None:
    wrong = fault_of_error(httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong version number"))
    assert not wrong.passes
    assert fault_of_error(httpx.ConnectError("refused")).passes
