"""Threads in tests: started, and waited for by what they have done instead of by the clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_PATIENCE = 20.0  # seconds, for a machine under load


def in_thread(work: Callable[[], object]) -> threading.Thread:
    """Start a thread that does this."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def wait_until(condition: Callable[[], object]) -> None:
    """Return when another thread has made the condition true."""
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, "the other thread did not come so far"
        time.sleep(0.001)
