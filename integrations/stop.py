"""Stop the work of a thread: its requests and pauses check a stop event.

A request that was sent cannot be interrupted. But a thread whose stop event is set sends no further
request and ends its pauses at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event

_STOP: ContextVar[Event | None] = ContextVar("decant_stop", default=None)


class Stopped(Exception):
    """Another thread stopped the work of this thread; this unwinds it."""


@contextmanager
def stoppable(stop: Event) -> Iterator[None]:
    """Make the requests and pauses of this thread inside the block check ``stop``."""
    token = _STOP.set(stop)
    try:
        yield
    finally:
        _STOP.reset(token)


def check_stopped() -> None:
    """Raise :class:`Stopped` if the work of this thread was stopped."""
    stop = _STOP.get()
    if stop is not None and stop.is_set():
        raise Stopped


def pause(seconds: float) -> None:
    """Wait, or raise :class:`Stopped` as soon as the work of this thread is stopped."""
    stop = _STOP.get()
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise Stopped
