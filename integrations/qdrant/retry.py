"""Ask a Qdrant server, again if it was busy or out of reach, and say plainly what went wrong.

Every request that decant sends may be sent twice without harm, because all ids are computed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc  # type: ignore[import-untyped]
import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from decant.embedders import StoreError

_TOO_MANY = 429
_SERVER_ERRORS = 500
_PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
    }
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait between attempts: doubling, capped, and spread at random.

    The spread is the "full jitter" of Brooker 2015, "Exponential Backoff And Jitter".

    Args:
        attempts: How often to ask in all.
        first: Seconds that the first pause lasts at most.
        longest: Seconds that any pause lasts at most.
        sleep: What waits.
    """

    attempts: int = 7
    first: float = 0.5
    longest: float = 20.0
    sleep: Callable[[float], None] = time.sleep

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after this failed attempt, counted from 0."""
        longest = min(self.longest, self.first * 2**attempt)
        return random.uniform(0, longest)  # noqa: S311 (spreads load, keeps no secret)


def ask(request: Callable[[], T], backoff: Backoff, *, what: str) -> T:
    """Return what ``request`` gives, asking again after failures that pass.

    Args:
        request: Sends one request.
        backoff: How often and how patiently.
        what: What is being done and where, for messages.

    Raises:
        StoreError: The server refused, or did not answer in any of the attempts.
    """
    for attempt in range(backoff.attempts):
        try:
            return request()
        except (ApiException, QdrantException, grpc.RpcError) as error:
            if not _passes(error):
                raise StoreError(f"{what} was refused: {_said(error)}") from error
            if attempt + 1 == backoff.attempts:
                raise StoreError(
                    f"{what} failed after {backoff.attempts} attempts: {_said(error)}; check that "
                    "the server runs and can be reached, then do it again: nothing is lost"
                ) from error
            backoff.sleep(max(backoff.pause(attempt), _asked_for(error)))
    raise StoreError(f"{what} was never tried: attempts={backoff.attempts}, give at least 1")


def _passes(error: Exception) -> bool:
    """Return whether the same request may succeed a little later."""
    match error:
        case ResourceExhaustedResponse():
            return True
        case ResponseHandlingException():
            return isinstance(error.source, httpx.TransportError)
        case UnexpectedResponse():
            status = error.status_code or 0
            return status == _TOO_MANY or status >= _SERVER_ERRORS
        case grpc.RpcError():
            return _code(error) in _PASSING
        case _:
            return False


def _code(error: grpc.RpcError) -> object:
    # The errors that calls raise are also ``grpc.Call``, which is what has the code.
    return error.code() if isinstance(error, grpc.Call) else None


def _asked_for(error: Exception) -> float:
    """Return the seconds that the server asked us to wait."""
    match error:
        case ResourceExhaustedResponse():
            return float(error.retry_after_s)
        case _:
            return 0.0


def _said(error: Exception) -> str:
    match error:
        case ResponseHandlingException():
            return f"{type(error.source).__name__}: {error.source}"
        case UnexpectedResponse():
            try:
                return f"{error.status_code} {error.structured()['status']['error']}"
            except (ValueError, KeyError, TypeError):  # from a proxy before the server
                return f"{error.status_code} {error.reason_phrase}"
        case grpc.Call():
            return f"{error.code()}: {error.details()}"
        case _:
            return str(error)
