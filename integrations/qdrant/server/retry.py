"""Send requests to a Qdrant server, retry them if it is busy or unreachable, explain failures.

Every request that decant sends may be sent twice without harm, because all ids are computed.
``faults.py`` decides which faults are temporary.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

from qdrant_client.context_headers import headers as context_headers

from decant.embedders import StoreError
from decant.embedders.telemetry import add_trace_headers

from ...stop import check_stopped, pause
from ..coroutines.run_now import immediate, run_now
from .faults import EXCEPTIONS, Fault, fault_of

_ATTEMPTS = 7
_TIMEOUT = 120.0
_SHARE = (
    0.45  # the share of the whole timeout for one attempt, so that a hung one is repeated in time
)

_DECADES = 1e9  # seconds; more is written as a power of ten

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How often to try and how long to wait: doubling pauses, capped, and spread at random.

    The spread is the "full jitter" of Brooker 2015, "Exponential Backoff And Jitter".

    Args:
        attempts: The number of attempts.
        first: The longest first pause, in seconds.
        longest: The longest pause, in seconds.
        timeout: The longest time of all attempts and pauses together, in seconds.
        attempt_timeout: Seconds after which the client ends an attempt. No attempt begins if less
            time is left.
        sleep: The function that waits.
        async_sleep: The coroutine function that waits in an event loop.
        clock: The function that returns the time in seconds.

    Raises:
        StoreError: There is no attempt, or less than a second for all.
    """

    attempts: int = _ATTEMPTS
    first: float = 0.5
    longest: float = 20.0
    timeout: float = _TIMEOUT
    attempt_timeout: float = _TIMEOUT * _SHARE
    sleep: Callable[[float], None] = pause
    async_sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise StoreError(
                f"attempts={self.attempts}: give at least 1, or no request is ever sent"
            )
        if not 1 <= self.timeout < float("inf"):
            raise StoreError(f"timeout={self.timeout}: give a number of seconds, 1 or more")

    @classmethod
    def within(cls, timeout: float | None = None, *, attempts: int | None = None) -> Backoff:
        """Return the same with another timeout and number of attempts.

        Args:
            timeout: The seconds for all attempts, of which each gets a share; None for the default.
            attempts: The number of attempts; None for the default.
        """
        attempts = _ATTEMPTS if attempts is None else attempts
        timeout = _TIMEOUT if timeout is None else timeout
        share = timeout if attempts == 1 else timeout * _SHARE
        return cls(attempts=attempts, timeout=timeout, attempt_timeout=share)

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after this failed attempt, counted from 0."""
        longest = min(self.longest, self.first * 2**attempt)
        return random.uniform(0, longest)  # noqa: S311 (spreads load, keeps no secret)


def ask(request: Callable[[], T], backoff: Backoff, *, what: str) -> T:
    """Return the result of ``request``; see :func:`send`."""
    return run_now(send(request, backoff, what=what, sleep=immediate(backoff.sleep)))


async def send(
    request: Callable[[], T],
    backoff: Backoff,
    *,
    what: str,
    sleep: Callable[[float], Awaitable[None]],
) -> T:
    """Return the result of ``request``; temporary failures are retried.

    Args:
        request: Sends one request; what a client of an event loop returns is awaited.
        backoff: The attempts and pauses.
        what: The operation and the place, for messages.
        sleep: Waits.

    Raises:
        StoreError: The server refused, or did not answer in any attempt.
        Stopped: The work of this thread was stopped before the next attempt.
    """
    headers = _trace_headers()
    began = backoff.clock()
    latest = began + backoff.timeout - backoff.attempt_timeout  # the time to begin an attempt
    attempt = 0
    while True:
        check_stopped()
        try:
            with headers():
                answer = request()
                return cast("T", await answer) if isinstance(answer, Awaitable) else answer
        except EXCEPTIONS as error:
            fault = fault_of(error)
            if not fault.passes:
                raise StoreError(f"{what} was refused: {fault}") from error
            attempt += 1
            left = latest - backoff.clock()
            if attempt >= backoff.attempts or left < 0 or fault.wait > left:
                seconds = backoff.clock() - began
                raise StoreError(_given_up(what, fault, attempt, seconds, left)) from error
            await sleep(min(left, max(backoff.pause(attempt - 1), fault.wait)))


def _trace_headers() -> Callable[[], AbstractContextManager[None]]:
    """Return what hands the present trace to the server within a block, over REST as over gRPC.

    A Qdrant server notes ``traceparent`` in its audit log, and a proxy before it goes on with it.
    """
    found: dict[str, str] = {}
    add_trace_headers(found)
    return partial(context_headers, found) if found else nullcontext


def _given_up(what: str, fault: Fault, attempts: int, seconds: float, left: float) -> str:
    tried = f" after {attempts} attempt{'s' if attempts > 1 else ''} in {seconds:.0f} s"
    if attempts == 1 and seconds < 1:
        tried = ""
    if fault.wait <= max(0.0, left):
        return f"{what} failed{tried}: {fault}"
    wait = f"{fault.wait:.0f}" if fault.wait < _DECADES else f"{fault.wait:.0e}"
    return (
        f"{what} failed{tried}: {fault.text}, and to wait {wait} s was asked, longer than the "
        "timeout allows; do it again later: nothing is lost"
    )
