"""Threads take turns at a shard: first come, first served, writers before readers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from queue import SimpleQueue

import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, Document, Record, connect
from decant.integrations.qdrant.edge.turns import Turns

SECONDS = 20  # until a thread that hangs fails a test


class Crowd:
    """Threads that come one after another while a turn is held, and say when theirs comes."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._order: SimpleQueue[str] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def come(self, name: str, turn: Callable[[], AbstractContextManager[None]]) -> None:
        """Start a thread, and return when it waits for its turn."""
        waiting = self._waiting()

        def work() -> None:
            with turn():
                self._order.put(name)

        thread = threading.Thread(target=work)
        self._threads.append(thread)
        thread.start()
        while self._waiting() == waiting:
            thread.join(0.001)

    def _waiting(self) -> int:
        return len(self._turns._readers) + len(self._turns._writers)

    def order(self) -> list[str]:
        """Return in which order the threads had their turns, when all are through."""
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive()
        return [self._order.get_nowait() for _ in self._threads]


def test_a_writer_comes_before_the_readers_who_wait() -> None:
    turns = Turns()
    crowd = Crowd(turns)
    with turns.reading():
        for number in range(3):
            crowd.come(f"r{number}", turns.reading)
        crowd.come("w", turns.writing)
    assert crowd.order() == ["w", "r0", "r1", "r2"]


def test_neither_readers_nor_writers_starve() -> None:
    turns = Turns()
    crowd = Crowd(turns)
    with turns.writing():
        for number in range(3):
            crowd.come(f"w{number}", turns.writing)
            crowd.come(f"r{number}", turns.reading)
    assert crowd.order() == ["r0", "w0", "r1", "w1", "r2", "w2"]


def test_a_turn_that_ends_in_an_error_is_passed_on() -> None:
    turns = Turns()
    crowd = Crowd(turns)

    def break_off() -> None:
        with turns.writing():
            crowd.come("r", turns.reading)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        break_off()
    assert crowd.order() == ["r"]
    with turns.writing():
        pass


def test_one_who_is_interrupted_while_waiting_leaves_the_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted:
        """A lock that Ctrl-C interrupts the waiting for."""

        def __init__(self) -> None:
            self._lock = threading.Lock()

        def acquire(self) -> None:
            if not self._lock.acquire(blocking=False):
                raise KeyboardInterrupt

    turns = Turns()
    with turns.reading():
        with monkeypatch.context() as patch:
            patch.setattr("decant.integrations.qdrant.edge.turns.Lock", Interrupted)
            with pytest.raises(KeyboardInterrupt), turns.writing():
                pass
        crowd = Crowd(turns)
        crowd.come("r", turns.reading)
    assert crowd.order() == ["r"]


def test_an_indexing_run_and_many_searches_all_have_their_turns(scratch: Path) -> None:
    encoder = HashEncoder(16)
    searching, ended = threading.Barrier(33), threading.Event()
    with connect(scratch) as store:
        docs = Collection.create(store, "docs", encoder)
        docs.add([Record(id=f"{n}", text=f"text {n}") for n in range(500)])
        counts = [0] * 32

        def search(number: int) -> None:
            searching.wait(SECONDS)
            while not ended.is_set():
                docs.search(f"text {number}")
                counts[number] += 1

        threads = [threading.Thread(target=search, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        searching.wait(SECONDS)
        try:
            docs.index(Document(source=f"s{n}", text=f"new text {n}") for n in range(50))
            assert docs.count() == 550
            deadline = time.monotonic() + SECONDS
            while min(counts) == 0 and time.monotonic() < deadline:
                ended.wait(0.001)
        finally:
            ended.set()
            for thread in threads:
                thread.join(SECONDS)
        assert min(counts) > 0
