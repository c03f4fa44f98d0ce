"""Interpret a failed request: whether repeating it may help, and what the user can do.

One table covers both transports. Invariant: the same fault over REST and over gRPC has the same
kind.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

import grpc  # type: ignore[import-untyped]
import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from .clients.addresses import without_secrets

EXCEPTIONS = (
    ApiException,
    QdrantException,
    grpc.RpcError,
    ValueError,  # the client checks some requests before it sends them, and in local mode all
    RuntimeError,  # a client that was closed, or values nested too deep for its converter
    AssertionError,  # the client's error about an answer without a result
)
"""The exceptions that a request through qdrant-client may raise."""


class FaultKind(Enum):
    """The kind of a fault; its value is what to do, as the end of a sentence.

    That is "" where the text of the fault is sufficient. Those of INFERENCE are of the service that
    the server asks for the vectors of texts.
    """

    PASSING = "check that the server runs and can be reached, then do it again: nothing is lost"
    REFUSED = ""
    UNAUTHENTICATED = (
        "give the server's key as api_key= or in the environment variable QDRANT_API_KEY"
    )
    FORBIDDEN = "use a key that is allowed to do this"
    DISK_FULL = (
        "the server's disk is full, or its quota used up: make room there, then do it "
        "again: nothing is lost"
    )
    ABOVE_RATE_LIMIT = (
        "waiting does not help: raise the rate limit in the collection's strict mode, "
        "or ask for less at once"
    )
    ENCRYPTION = (
        "check whether the server is at https:// or http://; a certificate of your own "
        "authority is trusted with ca=, the path of its PEM file"
    )
    FOREIGN = (
        "check the address, its path and its port; if the server is newer than "
        "qdrant-client, upgrade qdrant-client"
    )
    WIDTH = (
        "the vectors have another width than the collection's; if the server has them made, serve "
        "the bundle that the collection was made with"
    )
    INFERENCE_AWAY = (
        "check that `decant serve` runs, and that the Qdrant server reaches it at its "
        "inference.address in time; nothing was stored of this request"
    )
    INFERENCE_BUSY = (
        "the inference service has more to do than it takes: send less at once, or "
        "raise --queue-tokens of `decant serve`; nothing was stored of this request"
    )
    INFERENCE_REFUSED = (
        "the server's inference service refused the texts, and nothing was stored of "
        "this request: serve the bundle that the collection was made with, under the "
        "name that ServerInference has"
    )
    INFERENCE_KEY = (
        "give the Qdrant server a key that `decant serve` takes, as inference.token in "
        "its configuration (QDRANT__INFERENCE__TOKEN)"
    )
    INFERENCE_UNSET = (
        "start the Qdrant server with the address of `decant serve`: "
        "QDRANT__INFERENCE__ADDRESS=http://HOST:6900/infer"
    )
    INFERENCE_WRONG = (
        "what answers at the Qdrant server's inference.address gives no vectors that "
        "it can read; check that it is /infer of `decant serve`"
    )

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self in (FaultKind.PASSING, FaultKind.INFERENCE_AWAY, FaultKind.INFERENCE_BUSY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of a request.

    Args:
        kind: Whether it is temporary, and what to do.
        text: The message of the server, a proxy or the client.
        wait: Seconds that the server asks to wait.
    """

    kind: FaultKind
    text: str
    wait: float = 0.0

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.kind.passes

    @property
    def advice(self) -> str:
        """What to do, as the end of a sentence; "" if the text is sufficient."""
        return str(self.kind.value)

    def __str__(self) -> str:
        """Return the text and the advice."""
        return f"{self.text}; {self.advice}" if self.advice else self.text


# 408: Qdrant read no request for 5 s, or stopped waiting for its own work. 425, 429 and the other
# 5xx come from proxies, too.
_PASSING_STATUS = frozenset({408, 425, 429})
_LASTING_SERVER_STATUS = frozenset({501, 505, 508, 510, 511})
_STATUS_KINDS = {
    401: FaultKind.UNAUTHENTICATED,
    403: FaultKind.FORBIDDEN,
    507: FaultKind.DISK_FULL,
}
# INTERNAL corresponds to 500 over REST, and includes a lost replica.
_PASSING_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
    }
)
_CODE_KINDS = {
    grpc.StatusCode.UNAUTHENTICATED: FaultKind.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: FaultKind.FORBIDDEN,
    grpc.StatusCode.UNIMPLEMENTED: FaultKind.FOREIGN,
}
# The message is checked before the status: a full disk is 500 or 507, INTERNAL or
# RESOURCE_EXHAUSTED, depending on version and place.
_AWAY = FaultKind.INFERENCE_AWAY
_SAID_KINDS = (
    (re.compile("larger than rate limiter capacity"), FaultKind.ABOVE_RATE_LIMIT),
    (
        re.compile(
            r"no space left|not enough (disk|free) space|out of disk|disk (is )?full|os error 28|"
            r"insufficient storage|(disk|storage) quota",
            re.IGNORECASE,
        ),
        FaultKind.DISK_FULL,
    ),
    (
        # A request or an answer that this client can never carry.
        re.compile(r"Exception (de)?serializing|message larger than max"),
        FaultKind.REFUSED,
    ),
    (
        re.compile(
            r"CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER|illegal (status|request) line",
            re.IGNORECASE,
        ),
        FaultKind.ENCRYPTION,
    ),
    (re.compile(r"http1\.x server"), FaultKind.FOREIGN),
    (re.compile(r"expected dim: \d+, got \d+"), FaultKind.WIDTH),
    # Sentences of the server about its inference service (src/common/inference/service.rs, 1.19).
    (re.compile(r"Inference service error|Failed to (send|read) inference"), _AWAY),
    (re.compile(r"Too many requests for inference service"), FaultKind.INFERENCE_BUSY),
    (re.compile(r"Authentication failed for inference service"), FaultKind.INFERENCE_KEY),
    (re.compile(r"InferenceService (URL not|is not|configuration)"), FaultKind.INFERENCE_UNSET),
    (
        re.compile(
            r"Inference request validation failed|Invalid inference request|"
            r"Inference can't process request"
        ),
        FaultKind.INFERENCE_REFUSED,
    ),
    (
        re.compile(
            r"Inference service returned no vectors|Failed to parse successful inference|"
            r"Unexpected inference"
        ),
        FaultKind.INFERENCE_WRONG,
    ),
)
_EXCERPT = 200
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)


def fault_of(error: Exception) -> Fault:
    """Return the fault behind an error of :data:`EXCEPTIONS`."""
    match error:
        case ResourceExhaustedResponse():
            return _judged(f"429 {error}", FaultKind.PASSING, retry_after(str(error.retry_after_s)))
        case QdrantException():
            # The client reads whole seconds only, and drops the server's message.
            wait = retry_after(str(error).partition("valid integer: ")[2])
            return _judged("429 Too Many Requests", FaultKind.PASSING, wait)
        case ResponseHandlingException():
            return _of_transport(error.source)
        case UnexpectedResponse():
            return _of_status(error)
        case grpc.Call() | grpc.aio.AioRpcError():  # errors of calls are of the first, too
            return _of_code(error)
        case json.JSONDecodeError():
            return _of_broken_body(error.doc, str(error))
        case UnicodeDecodeError():
            return _of_broken_body(error.object.decode(errors="replace"), error.reason)
        case RecursionError():
            return _judged("the values are nested too deep", FaultKind.REFUSED)
        case AssertionError():
            return _judged(f"the answer has no result ({error})", FaultKind.FOREIGN)
        case _:
            return _judged(str(error) or type(error).__name__, FaultKind.REFUSED)


def retry_after(value: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float:
    """Return the seconds of a ``Retry-After``; 0 if it cannot be read or is in the past.

    RFC 9110 §10.2.3 has whole seconds and dates; proxies send fractions too.
    """
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return 0.0
        zoned = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        seconds = (zoned - now()).total_seconds()
    return 0.0 if math.isnan(seconds) else max(0.0, seconds)


def _judged(text: str, kind: FaultKind, wait: float = 0.0) -> Fault:
    said = next((kind for pattern, kind in _SAID_KINDS if pattern.search(text)), kind)
    return Fault(kind=said, text=without_secrets(text), wait=wait)


def _of_transport(source: Exception) -> Fault:
    text = f"{type(source).__name__}: {source}"
    match source:
        case httpx.LocalProtocolError():  # the request itself is not valid HTTP
            return _judged(text, FaultKind.REFUSED)
        case httpx.TransportError() | httpx.DecodingError():
            return _judged(text, FaultKind.PASSING)
        case ValueError():  # pydantic's error: the answer is JSON, but not Qdrant's
            return _judged(f"the answer is none of Qdrant's ({_excerpt(text)})", FaultKind.FOREIGN)
        case _:
            return _judged(text, FaultKind.REFUSED)


def _of_status(error: UnexpectedResponse) -> Fault:
    status = error.status_code or 0
    if status in _PASSING_STATUS or (status >= 500 and status not in _LASTING_SERVER_STATUS):
        kind = FaultKind.PASSING
    else:
        kind = FaultKind.FOREIGN if 300 <= status < 400 else FaultKind.REFUSED
    kind = _STATUS_KINDS.get(status, kind)
    body = error.content.decode(errors="replace").strip()
    try:
        # An answer of an inference service that cannot be read comes as a whole, numbers and all.
        error_text = str(json.loads(body)["status"]["error"]).partition(". Response body:")[0]
        said = f"{status} {error_text}"
    except (ValueError, KeyError, TypeError, RecursionError):  # plain text, or not of Qdrant
        said = f"{status} {error.reason_phrase}".strip()
        if body.startswith("<"):
            said += f", with {_web_page(body)}"
            kind = FaultKind.FOREIGN if kind is FaultKind.REFUSED else kind
        elif status == 404:
            kind = FaultKind.FOREIGN
            said += f": {_excerpt(body)}" if body else ""
        elif body:
            said += f": {_excerpt(body)}"
    if 300 <= status < 400 and (location := error.headers.get("location")):
        said += f", which points to {location}"
    return _judged(said, kind, retry_after(error.headers.get("retry-after", "")))


def _of_code(error: grpc.Call | grpc.aio.AioRpcError) -> Fault:
    code = error.code()
    kind = FaultKind.PASSING if code in _PASSING_CODES else FaultKind.REFUSED
    metadata = dict(error.trailing_metadata() or ())
    details = _excerpt(error.details() or "")
    text = f"{getattr(code, 'name', code)}: {details}"
    wait = retry_after(str(metadata.get("retry-after", "")))
    return _judged(text, _CODE_KINDS.get(code, kind), wait)


def _of_broken_body(body: str, reason: str) -> Fault:
    """Return the fault of a 200 answer that is no JSON: cut off (temporary), or not Qdrant's."""
    text = body.strip()
    if not text or text[0] in "{[":
        return _judged(
            f"the answer was cut after {len(body)} characters ({reason})", FaultKind.PASSING
        )
    said = _web_page(text) if text.startswith("<") else f"no JSON: {_excerpt(text)}"
    return _judged(f"the answer is {said}", FaultKind.FOREIGN)


def _web_page(body: str) -> str:
    title = _TITLE.search(body)
    named = f" {_excerpt(title[1])!r}" if title and title[1].strip() else ""
    return f"a web page{named}, which a proxy or another program sends, not Qdrant"


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT else f"{line[:_EXCERPT]}…"
