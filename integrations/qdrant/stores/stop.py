"""Give up work that waits: a stop that requests and pauses of a thread listen to.

A request under way cannot be interrupted. What holds is that a thread whose stop is set begins no
further request and ends its pauses at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event

_STOP: ContextVar[Event | None] = ContextVar("decant_stop", default=None)


class Stopped(Exception):
    """The work of this thread was given up by another one; unwinds it."""


@contextmanager
def stoppable(stop: Event) -> Iterator[None]:
    """Make the requests and pauses inside the block, in this thread, listen to ``stop``."""
    token = _STOP.set(stop)
    try:
        yield
    finally:
        _STOP.reset(token)


def check_stopped() -> None:
    """Raise :class:`Stopped` if the work of this thread was given up."""
    stop = _STOP.get()
    if stop is not None and stop.is_set():
        raise Stopped


def pause(seconds: float) -> None:
    """Wait, or raise :class:`Stopped` as soon as the work of this thread is given up."""
    stop = _STOP.get()
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        raise Stopped
