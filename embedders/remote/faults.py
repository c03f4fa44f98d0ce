"""Judge what a server answered, or why it did not: whether to ask again, and what a user can do.

Invariant: no text of a fault holds the key that was sent, though a proxy may repeat it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

import httpx

from .address import API_KEY
from .wire import Refusal

_BUSY = 429
# 408: the server waited too long for the body. The others come from proxies, or from a server that
# stops; requests may be repeated because vectors are computed and nothing is stored.
_PASSING = frozenset({408, 425, 502, 503, 504})
_TOO_LARGE = 413
_EXCERPT = 300
_ENCRYPTION = re.compile(r"CERTIFICATE_VERIFY_FAILED|WRONG_VERSION_NUMBER|SSL", re.IGNORECASE)
_NO_SERVER = (
    "check the address, with its port, and that `decant serve` runs there in the version that runs "
    "here"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a request has no answer.

    Args:
        text: What happened, and what to do.
        passes: Whether the same request may succeed later.
        is_busy: Whether the server only asks to wait.
        wait: Seconds that it asks to wait; None if it does not say.
    """

    text: str
    passes: bool = False
    is_busy: bool = False
    wait: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered.

    Args:
        body: The body.
        refusal: Why there is no result; None if there is one.
        message: What the server says of it.
    """

    body: bytes = b""
    refusal: Refusal | None = None
    message: str = ""


def fault_of_error(error: Exception) -> Fault:
    """Return the fault behind an exception of the HTTP client."""
    text = f"{type(error).__name__}: {error}"
    if _ENCRYPTION.search(str(error)):
        return Fault(
            text=f"{text}; check whether the server is at https:// or http://. A certificate of "
            "your own authority is trusted with ca= of RemoteAccess"
        )
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return Fault(text=f"{text}; {_NO_SERVER}")
    if isinstance(error, httpx.TransportError | httpx.DecodingError):
        return Fault(text=f"{text}; {_NO_SERVER}", passes=True)
    return Fault(text=f"{text}; {_NO_SERVER}")


def judge(response: httpx.Response, body: bytes, *, key: str | None) -> Answer | Fault:
    """Return the answer of a server, or the fault that it stands for.

    Args:
        response: Status and headers.
        body: The whole body.
        key: The key that was sent, which is taken out of messages.
    """
    status, headers = response.status_code, response.headers
    is_page = "html" in headers.get("content-type", "").lower()
    if status == 200 and not is_page:
        return Answer(body=body)
    message, refusal = _said(body)
    message = message.replace(key, "[key]") if key else message
    if refusal is not None and status in (400, 409, _TOO_LARGE, 500):
        return Answer(refusal=refusal, message=message)
    if status == _TOO_LARGE:
        return Answer(refusal=Refusal.TOO_LARGE, message=message or "the request is too large")
    shown = f"{status} {response.reason_phrase}".strip() + (f": {message}" if message else "")
    return _fault(status, shown, headers, is_page=is_page)


def _fault(status: int, shown: str, headers: Mapping[str, str], *, is_page: bool) -> Fault:
    if status == _BUSY or status in _PASSING:
        return Fault(
            text=f"{shown}; try again later",
            passes=True,
            is_busy=status == _BUSY,
            wait=retry_after(headers.get("retry-after")),
        )
    if status in (401, 403):
        return Fault(
            text=f"{shown}; give the server's key as api_key= of RemoteAccess, or in the "
            f"environment variable {API_KEY}"
        )
    if 300 <= status < 400:
        place = headers.get("location", "").partition("?")[0].rpartition("@")[2]
        return Fault(text=f"{shown}, which points to {place[:_EXCERPT]!r}; give that address")
    if is_page:
        return Fault(text=f"{shown}, with a web page, which decant never sends; {_NO_SERVER}")
    if status in (404, 405):
        return Fault(text=f"{shown}; {_NO_SERVER}")
    return Fault(text=shown)


def retry_after(
    value: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> float | None:
    """Return the seconds of a ``Retry-After``, a number or a date (RFC 9110, section 10.2.3).

    A time in the past is 0; what is not there or cannot be read is None.

    >>> retry_after("7"), retry_after("soon")
    (7.0, None)
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        zoned = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        seconds = (zoned - now()).total_seconds()
    return max(0.0, seconds) if isfinite(seconds) else None


def _said(body: bytes) -> tuple[str, Refusal | None]:
    """Return the message of an error, and why it was refused, if decant wrote it."""
    try:
        data: object = json.loads(body[:65_536])
    except (ValueError, RecursionError):
        return "", None
    if not isinstance(data, dict):
        return "", None
    message, kind = data.get("error"), data.get("kind")
    text = " ".join(message.split())[:_EXCERPT] if isinstance(message, str) else ""
    return text, Refusal(kind) if isinstance(kind, str) and kind in [*Refusal] else None
