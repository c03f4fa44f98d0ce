"""From HTTP to JSON and back: bodies within limits, errors as each protocol writes them.

What is logged of an error is its class and where it was raised, never its message: those of
libraries may quote a text.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import TypeVar, assert_never

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from decant.embedders import ParityError
from decant.embedders.remote import Refusal

from .errors import (
    InstructionRefused,
    KeyRefused,
    NotJson,
    OtherModel,
    Overloaded,
    RequestError,
    RequestTooLarge,
    ServerStopping,
    TextRefused,
    UnknownModel,
)
from .json_bodies import LARGE_ANSWER, LARGE_BODY, PiecewiseResponse, in_thread_if, json_pieces
from .settings import ServerSettings

T = TypeVar("T")

_log = logging.getLogger("decant")
JSON = "application/json"

_STATUSES: dict[type[Exception], int] = {
    KeyRefused: 401,
    UnknownModel: 404,
    OtherModel: 409,
    RequestTooLarge: 413,
    NotJson: 415,
    Overloaded: 429,
    ServerStopping: 503,
}  # of other wrong requests 400


class ErrorForm(StrEnum):
    """How the protocol of a route writes errors."""

    QDRANT = "qdrant"
    OPENAI = "openai"
    TEI = "tei"
    COHERE = "cohere"
    DECANT = "decant"


class ClientGone(Exception):
    """The client has closed the connection before it had its answer."""


def json_response(
    content: object, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return an answer that is not large."""
    return PiecewiseResponse(json_pieces(content), status=status, headers=headers)


async def vectors_response(write: Callable[[], object], *, numbers: int) -> Response:
    """Return an answer with vectors, written in a thread if it is large.

    Args:
        write: Returns the content.
        numbers: How many numbers it holds.
    """
    pieces = await in_thread_if(numbers > LARGE_ANSWER, lambda: json_pieces(write()))
    return PiecewiseResponse(pieces)


async def read_json(request: Request, settings: ServerSettings, read: Callable[[object], T]) -> T:
    """Return what a protocol reads of the body of a request; a large one is read in a thread.

    Args:
        request: The request.
        settings: How large the body may be, and how long it may take.
        read: Reads the parsed JSON.

    Raises:
        NotJson: It is not announced as JSON. Pages in a browser cannot announce that to a server
            of another site without asking it, which is refused.
        RequestTooLarge: It has too many bytes.
        RequestError: It is not JSON, or ``read`` refuses it.
        HTTPException: 408, the client is too slow.
        ClientGone: The client has gone.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise NotJson(f"the body must be JSON, with the header Content-Type: {JSON}")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > settings.body_bytes:
        raise _too_large(settings)
    try:
        async with asyncio.timeout(settings.body_seconds):
            body = await _read(request, settings)
    except TimeoutError:
        raise HTTPException(
            408, f"the body did not come within {settings.body_seconds:g} seconds"
        ) from None
    except ClientDisconnect:
        raise ClientGone from None
    return await in_thread_if(len(body) > LARGE_BODY, lambda: read(_parsed(body)))


async def unless_gone(request: Request, work: Coroutine[None, None, T]) -> T:
    """Return what the work gives; if the client goes before, cancel it.

    Args:
        request: A request whose body was read.
        work: What is done for it.

    Raises:
        ClientGone: The client has gone.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


def error_response(error: Exception, form: ErrorForm) -> Response:
    """Return an error as the protocol of a route writes it, without anything of texts or keys."""
    status, message = _status_and_message(error)
    # Starlette's, for example Allow, which names the methods of a route.
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, KeyRefused):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, ServerStopping) or status == 408:
        headers["Connection"] = "close"
    content = _written(error, message, status, form)
    return json_response(content, status=status, headers=headers)


def _status_and_message(error: Exception) -> tuple[int, str]:
    match error:
        case RequestError() | KeyRefused() | Overloaded() | ServerStopping():
            return _STATUSES.get(type(error), 400), str(error)
        case HTTPException():
            return error.status_code, str(error.detail)
        case ParityError():  # its message counts the texts of a pass, which are not the client's
            _log.error("a model gave NaN or infinity: %s", type(error).__name__)
            return 500, (
                "the model gave NaN or infinity for a text of this request; certify the bundle "
                "with `decant verify`, or leave the text out"
            )
        case _:
            frames = traceback.extract_tb(error.__traceback__)
            where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "nowhere"
            _log.error("a request failed: %s at %s", type(error).__name__, where)
            return 500, "the server failed on this request; its log names the error"


def _written(error: Exception, message: str, status: int, form: ErrorForm) -> dict[str, object]:
    match form:
        case ErrorForm.QDRANT:
            return {"error": message}
        case ErrorForm.OPENAI:
            kind = "server_error" if status >= 500 else "invalid_request_error"
            return {"error": {"message": message, "type": kind, "param": None, "code": status}}
        case ErrorForm.TEI:
            kinds = {429: "overloaded", 500: "backend", 503: "unhealthy"}
            return {"error": message, "error_type": kinds.get(status, "validation")}
        case ErrorForm.COHERE:  # Jina's clients read the detail
            return {"message": message, "detail": message}
        case ErrorForm.DECANT:
            return {"error": message, "kind": _refusal(error)}
        case _:
            assert_never(form)


def _refusal(error: Exception) -> Refusal:
    match error:
        case TextRefused():
            return Refusal.TEXT
        case InstructionRefused():
            return Refusal.INSTRUCTION
        case OtherModel():
            return Refusal.OTHER_MODEL
        case RequestTooLarge():
            return Refusal.TOO_LARGE
        case RequestError() | HTTPException():
            return Refusal.REQUEST
        case KeyRefused():
            return Refusal.KEY
        case Overloaded():
            return Refusal.BUSY
        case ServerStopping():
            return Refusal.STOPPING
        case ParityError():
            return Refusal.NOT_FINITE
        case _:
            return Refusal.FAILED


def _parsed(body: bytearray) -> object:
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # The error holds the whole body.
        raise RequestError(f"the body is not valid JSON, at character {error.pos:,}") from None
    return found


async def _read(request: Request, settings: ServerSettings) -> bytearray:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > settings.body_bytes:
            raise _too_large(settings)
    return body


def _too_large(settings: ServerSettings) -> RequestTooLarge:
    return RequestTooLarge(
        f"the body has more than {settings.body_bytes:,} bytes; send the texts in several requests"
    )


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
