"""Turns of the threads that use one shard: first come, first served, and writers before readers.

Edge holds Python's lock in every call, so calls never run in parallel; turns only change which
thread is next. Without turns, each of many searching threads keeps Python's lock for the five
milliseconds of a switch interval, and an indexing thread, which needs it some hundreds of times,
waits for all of them each time. With turns, a searching thread that is not next sleeps, so Python's
lock is free after every search.
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager
from threading import Lock
from types import TracebackType


class Turns:
    """Lets one thread at a time in.

    A writer waits for the writers that came before it, and for at most one reader before each of
    them. After a writer the first reader is next, so neither kind ever starves.
    """

    def __init__(self) -> None:
        self._changing = Lock()
        self._is_taken = False
        self._is_writing = False
        self._readers: deque[Lock] = deque()
        self._writers: deque[Lock] = deque()
        self._reading = _Turn(self, self._readers)
        self._writing = _Turn(self, self._writers)

    def reading(self) -> AbstractContextManager[None]:
        """Return a context manager for a reader's turn; its block must not take another turn."""
        return self._reading

    def writing(self) -> AbstractContextManager[None]:
        """Return a context manager for a writer's turn; its block must not take another turn."""
        return self._writing

    def take(self, line: deque[Lock]) -> None:
        """Wait for a turn as a reader or as a writer."""
        with self._changing:
            if not self._is_taken:
                self._is_taken = True
                self._is_writing = line is self._writers
                return
            place = Lock()
            place.acquire()
            line.append(place)
        try:
            place.acquire()
        except BaseException:  # such as KeyboardInterrupt
            with self._changing:
                is_waiting = place in line
                if is_waiting:
                    line.remove(place)
            if not is_waiting:
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """End a turn, and let the next one in."""
        with self._changing:
            lines = (self._readers, self._writers)
            first, second = lines if self._is_writing else reversed(lines)
            line = first or second
            if line:
                self._is_writing = line is self._writers
                line.popleft().release()
            else:
                self._is_taken = False


class _Turn:
    """A context manager for a turn; it has no state, so all turns of a kind share one object."""

    def __init__(self, turns: Turns, line: deque[Lock]) -> None:
        self._turns = turns
        self._line = line

    def __enter__(self) -> None:
        self._turns.take(self._line)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._turns.pass_on()
