"""Ask a Qdrant server, again if it was busy or out of reach, and say plainly what went wrong.

Every request that decant sends may be sent twice without harm, because all ids are computed.
Which faults pass is in ``faults.py``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from decant.embedders import StoreError

from ..stores.stop import check_stopped, pause
from .faults import EXCEPTIONS, Fault, fault_of

_ATTEMPTS = 7
_TIMEOUT = 120.0
_SHARE = 0.45  # of the whole timeout for one attempt, so that a hung one is repeated in time

_DECADES = 1e9  # seconds; nobody counts more

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How often to ask and how long to wait: doubling pauses, capped, and spread at random.

    The spread is the "full jitter" of Brooker 2015, "Exponential Backoff And Jitter".

    Args:
        attempts: How often to ask in all.
        first: Seconds that the first pause lasts at most.
        longest: Seconds that any pause lasts at most.
        timeout: Seconds that all attempts and pauses take together, at most.
        attempt_timeout: Seconds after which the client gives up an attempt. No attempt begins
            that could not be given so many.
        sleep: What waits.
        clock: What tells the seconds.

    Raises:
        StoreError: There is no attempt, or less than a second for all.
    """

    attempts: int = _ATTEMPTS
    first: float = 0.5
    longest: float = 20.0
    timeout: float = _TIMEOUT
    attempt_timeout: float = _TIMEOUT * _SHARE
    sleep: Callable[[float], None] = pause
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise StoreError(f"attempts={self.attempts}: give at least 1, or nothing is ever asked")
        if not 1 <= self.timeout < float("inf"):
            raise StoreError(f"timeout={self.timeout}: give a number of seconds, 1 or more")

    @classmethod
    def within(cls, timeout: float | None = None, *, attempts: int | None = None) -> Backoff:
        """Return what asks so often within so many seconds, each attempt with a share of them.

        Args:
            timeout: The seconds; None for the usual ones.
            attempts: How often; None for as often as usual.
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
    """Return what ``request`` gives, asking again after failures that pass.

    Args:
        request: Sends one request.
        backoff: How often and how patiently.
        what: What is being done and where, for messages.

    Raises:
        StoreError: The server refused, or did not answer in any of the attempts.
        Stopped: The work of this thread was given up, before the next attempt.
    """
    began = backoff.clock()
    latest = began + backoff.timeout - backoff.attempt_timeout  # to begin an attempt
    attempt = 0
    while True:
        check_stopped()
        try:
            return request()
        except EXCEPTIONS as error:
            fault = fault_of(error)
            if not fault.passes:
                raise StoreError(f"{what} was refused: {fault}") from error
            attempt += 1
            left = latest - backoff.clock()
            if attempt >= backoff.attempts or left < 0 or fault.wait > left:
                seconds = backoff.clock() - began
                raise StoreError(_given_up(what, fault, attempt, seconds, left)) from error
            backoff.sleep(min(left, max(backoff.pause(attempt - 1), fault.wait)))


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
