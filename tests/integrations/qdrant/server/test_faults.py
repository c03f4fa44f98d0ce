"""What faults mean: one table for REST and gRPC, read off a real server's answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from decant.integrations.qdrant.server.faults import (
    EXCEPTIONS,
    FaultKind,
    fault_of,
    retry_after,
)

CAPACITY = (
    "Rate limiting exceeded: Read rate limit exceeded, request larger than rate limiter capacity, "
    "please try to split your request"
)
DISK = "Service internal error: No space left on device: WAL buffer size exceeds available disk"
REPLICA = "The replica set for shard 1 on peer 7 does not have enough active replicas"
KINDS = FaultKind


class CallError(grpc.RpcError, grpc.Call):  # type: ignore[misc]
    """What a call over gRPC raises, without a call."""

    def __init__(self, code: grpc.StatusCode, details: str, **metadata: str) -> None:
        self._parts = (code, details, metadata)

    def code(self) -> grpc.StatusCode:
        return self._parts[0]

    def details(self) -> str:
        return self._parts[1]

    def trailing_metadata(self) -> Any:
        return [(key.replace("_", "-"), value) for key, value in self._parts[2].items()]

    def initial_metadata(self) -> Any:
        return []

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> Any:
        return None

    def cancel(self) -> Any:
        return False

    def add_callback(self, callback: object) -> Any:
        return False


def over_rest(status: int, said: str, *, kind: str = "json", **headers: str) -> UnexpectedResponse:
    body = json.dumps({"status": {"error": said}, "time": 0.0}) if kind == "json" else said
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return UnexpectedResponse(status, "", body.encode(), httpx.Headers(named))


@pytest.mark.parametrize(
    ("kind", "status", "code", "said"),
    [
        (KINDS.PASSING, 408, "DEADLINE_EXCEEDED", "Timeout: read timed out"),
        (KINDS.PASSING, 429, "RESOURCE_EXHAUSTED", "Rate limiting exceeded: 1 of 2 tokens"),
        (KINDS.PASSING, 500, "INTERNAL", f"Service internal error: {REPLICA}"),
        (KINDS.PASSING, 503, "UNAVAILABLE", "leader is not established"),
        (KINDS.ABOVE_RATE_LIMIT, 429, "RESOURCE_EXHAUSTED", CAPACITY),
        (KINDS.DISK_FULL, 507, "RESOURCE_EXHAUSTED", "Insufficient storage: disk quota"),
        (KINDS.DISK_FULL, 500, "INTERNAL", DISK),
        (KINDS.UNAUTHENTICATED, 401, "UNAUTHENTICATED", "Invalid API key or JWT"),
        (KINDS.FORBIDDEN, 403, "PERMISSION_DENIED", "Forbidden: Global manage access is required"),
        (KINDS.REFUSED, 400, "INVALID_ARGUMENT", "Wrong input: Vector dimension error"),
        (KINDS.REFUSED, 404, "NOT_FOUND", "Not found: Collection `nope` doesn't exist!"),
        (KINDS.REFUSED, 409, "ALREADY_EXISTS", "Collection `d` already exists!"),
        (KINDS.REFUSED, 422, "INVALID_ARGUMENT", "internal.limit: value 0 invalid"),
        (KINDS.REFUSED, 501, "FAILED_PRECONDITION", "not implemented"),
    ],
)
def test_a_fault_is_the_same_over_both_transports(
    kind: FaultKind, status: int, code: str, said: str
) -> None:
    for error in (over_rest(status, said), CallError(grpc.StatusCode[code], said)):
        fault = fault_of(error)
        assert fault.kind is kind
        assert said in fault.text
        assert fault.passes is (kind is KINDS.PASSING)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (over_rest(401, "Invalid API key or JWT", kind="text"), KINDS.UNAUTHENTICATED, "Invalid"),
        (over_rest(502, "<html><title>502 Bad\n Gateway</title>", kind="html"), KINDS.PASSING,
         "a web page '502 Bad Gateway', which a proxy or another program sends"),
        (over_rest(404, "<!DOCTYPE html>", kind="html"), KINDS.FOREIGN, "404, with a web page"),
        (over_rest(404, "", kind="text"), KINDS.FOREIGN, "404"),
        (over_rest(302, "", kind="text", location="https://me:hush@sso/?k=hush"), KINDS.FOREIGN,
         "302, which points to https://sso/"),
        (over_rest(400, "x" * 999, kind="text"), KINDS.REFUSED, "xxx…"),
        (over_rest(500, "[" * 200_000, kind="text"), KINDS.PASSING, "500: [[["),
        (ResponseHandlingException(httpx.ReadTimeout("timed out")), KINDS.PASSING, "ReadTimeout"),
        (ResponseHandlingException(httpx.DecodingError("bad gzip")), KINDS.PASSING, "bad gzip"),
        (ResponseHandlingException(httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] x")),
         KINDS.ENCRYPTION, "CERTIFICATE_VERIFY_FAILED"),
        (ResponseHandlingException(httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER]")),
         KINDS.ENCRYPTION, "WRONG_VERSION_NUMBER"),
        (ResponseHandlingException(httpx.LocalProtocolError("Illegal")), KINDS.REFUSED, "Ill"),
        (ResponseHandlingException(RuntimeError("client is closed")), KINDS.REFUSED, "closed"),
        (json.JSONDecodeError("Unterminated string", '{"result": {"poi', 16), KINDS.PASSING,
         "was cut after 16 characters"),
        (json.JSONDecodeError("Expecting value", "", 0), KINDS.PASSING, "cut after 0"),
        (json.JSONDecodeError("Expecting value", "<html>", 0), KINDS.FOREIGN, "a web page"),
        (json.JSONDecodeError("Expecting value", "It works!", 0), KINDS.FOREIGN, "It works!"),
        (UnicodeDecodeError("utf-8", b'{"a": "\xc3', 7, 8, "unexpected end"), KINDS.PASSING, "cut"),
        (ValueError("Unsupported query"), KINDS.REFUSED, "Unsupported query"),
        (AssertionError("Search returned None"), KINDS.FOREIGN, "Search returned None"),
        (RecursionError("maximum recursion depth exceeded"), KINDS.REFUSED, "nested too deep"),
        (CallError(grpc.StatusCode.INTERNAL, "Exception deserializing response!"), KINDS.REFUSED,
         "deserializing"),
        (CallError(grpc.StatusCode.UNAVAILABLE, "Trying to connect an http1.x server"),
         KINDS.FOREIGN, "http1.x"),
        (CallError(grpc.StatusCode.UNIMPLEMENTED, "Method not found!"), KINDS.FOREIGN, "not found"),
    ],
)  # fmt: skip
def test_what_else_may_come(error: Exception, kind: FaultKind, said: str) -> None:
    assert isinstance(error, EXCEPTIONS)
    fault = fault_of(error)
    assert fault.kind is kind
    assert said in fault.text
    assert len(fault.text) < 400
    assert "hush" not in str(fault)


NOW = datetime(2026, 11, 30, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        ("1.5", 1.5),
        ("86400", 86_400),
        ("1e20", 1e20),
        ("9" * 400, float("inf")),
        ("-5", 0),
        ("nan", 0),
        ("soon", 0),
        ("", 0),
        ("Mon, 30 Nov 2026 12:00:07 GMT", 7),
        ("Monday, 30-Nov-26 12:00:07 GMT", 7),
        ("Mon, 30 Nov 2026 12:00:07 -0000", 7),
        ("Mon, 30 Nov 2026 13:00:07 +0100", 7),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Mon, 30 Nov 99999 12:00:07 GMT", 0),
        ("Mon, 99 Nov 2026 12:00:07 GMT", 0),
    ],
)
def test_retry_after_is_read_in_every_form(value: str, seconds: float) -> None:
    assert retry_after(value, now=lambda: NOW) == seconds


@pytest.mark.parametrize("value", ["1.5", "1e20", format_datetime(NOW), "soon", "12"])
def test_what_the_client_makes_of_retry_after_is_understood(value: str) -> None:
    """It takes whole seconds, raises for anything else, and loses what the server said."""
    wait = retry_after(value)
    try:
        error: QdrantException = ResourceExhaustedResponse("Rate limiting exceeded", value)  # type: ignore[arg-type]
    except QdrantException as raised:
        error = raised
    limited = CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, "slowly", retry_after=value)
    busy = over_rest(503, "busy", kind="text", retry_after=value)
    for fault in [fault_of(error), fault_of(limited), fault_of(busy)]:
        assert fault.kind is KINDS.PASSING
        assert fault.wait == pytest.approx(wait, abs=5)


def test_a_date_is_counted_from_now() -> None:
    value = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < retry_after(value) <= 90


def test_every_kind_says_what_to_do() -> None:
    advice = {kind: fault_of(over_rest(400, "x")).advice for kind in [KINDS.REFUSED]}
    assert advice == {KINDS.REFUSED: ""}
    assert "disk is full" in str(fault_of(over_rest(507, "no")))
    assert "api_key=" in str(fault_of(over_rest(401, "no")))
    assert "ca=" in str(
        fault_of(ResponseHandlingException(httpx.ConnectError("WRONG_VERSION_NUMBER")))
    )
