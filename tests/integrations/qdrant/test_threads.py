"""Coroutines run in threads of decant's own, which others do not wait for."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from threading import Event

import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Collection,
    CollectionMetadata,
    Document,
    Point,
    Record,
    Store,
    connect,
    run_in_thread,
)
from decant.integrations.stop import Stopped, check_stopped
from fault_server import FaultServer, Hang, running


@pytest.fixture
def gate() -> Iterator[Event]:
    """Return an event that the work of a test waits for; it is set in the end."""
    gate = Event()
    yield gate
    gate.set()


def test_results_and_errors_come_back() -> None:
    async def main() -> None:
        assert await run_in_thread(divmod, 7, 2) == (3, 1)
        assert await run_in_thread(int, "ff", base=16) == 255
        with pytest.raises(ZeroDivisionError):
            await run_in_thread(divmod, 7, 0)

    asyncio.run(main())


def test_context_variables_go_along() -> None:
    variable = contextvars.ContextVar("variable", default=0)

    async def main() -> None:
        variable.set(7)
        assert await run_in_thread(variable.get) == 7

    asyncio.run(main())


def test_they_are_few_and_delay_nothing_else(gate: Event) -> None:
    """A hundred calls that hang leave asyncio's own threads free, and start no hundred threads."""

    async def main() -> None:
        hanging = [asyncio.create_task(run_in_thread(gate.wait)) for _ in range(100)]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(asyncio.to_thread(divmod, 7, 2), 5) == (3, 1)
        ours = [t for t in threading.enumerate() if t.name.startswith("decant-async")]
        assert 1 <= len(ours) <= 32
        gate.set()
        assert await asyncio.gather(*hanging) == [True] * 100

    asyncio.run(main())


def test_a_cancelled_call_stops_before_its_next_request(gate: Event) -> None:
    started, ended = Event(), Event()

    def work() -> None:
        started.set()
        gate.wait()
        try:
            check_stopped()  # as every request does first
        except Stopped:
            ended.set()
            raise

    async def main() -> None:
        task = asyncio.create_task(run_in_thread(work))
        await asyncio.to_thread(started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        assert await asyncio.to_thread(ended.wait, 5)

    asyncio.run(main())


def test_what_was_cancelled_before_a_thread_was_free_never_runs(gate: Event) -> None:
    async def main() -> None:
        busy = [asyncio.create_task(run_in_thread(gate.wait)) for _ in range(32)]
        await asyncio.sleep(0)
        ran = Event()
        late = asyncio.create_task(run_in_thread(ran.set))
        await asyncio.sleep(0)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        gate.set()
        await asyncio.gather(*busy)
        assert not ran.is_set()

    asyncio.run(main())


def test_a_cancelled_search_frees_its_thread_when_its_request_ends(encoder: HashEncoder) -> None:
    ended = Event()
    with running(FaultServer()) as server, connect(server.url) as store:
        server.card = CollectionMetadata.of(encoder).to_json()
        collection = Collection.open(store, "docs", encoder)
        server.always = Hang()

        def search() -> None:
            try:
                collection.search("cat")
            except Stopped:
                ended.set()
                raise

        async def main() -> None:
            task = asyncio.create_task(run_in_thread(search))
            await asyncio.to_thread(server.hanging.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        asked = len(server.asked)
        server.released.set()  # the connection breaks, and would be made again
        assert ended.wait(10)
        assert len(server.asked) == asked


def test_cancelled_indexing_ends_in_a_folder_too(edge: Store, encoder: HashEncoder) -> None:
    collection = Collection.create(edge, "docs", encoder)
    begun = Event()

    def documents() -> Iterator[Document]:
        for number in itertools.count():  # it would never end by itself
            yield Document(source=f"{number}.txt", text=f"text {number}")
            if number == 300:
                begun.set()

    async def main() -> None:
        task = asyncio.create_task(collection.aindex(documents()))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    report = collection.index([Document(source="1.txt", text="text 1")])  # one at a time
    assert report.added + report.unchanged + report.changed == 1


def test_cancelled_adding_leaves_whole_batches_which_the_same_call_completes(
    edge: Store, encoder: HashEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = Collection.create(edge, "docs", encoder)
    records = [Record(id=f"r{number}", text=f"text {number}") for number in range(1_500)]
    written, go_on = Event(), Event()
    upsert = type(edge).upsert

    def stopping(store: Store, name: str, points: Sequence[Point]) -> None:
        check_stopped()
        upsert(store, name, points)
        if len(points) > 1:  # the note of who writes comes first
            written.set()
            go_on.wait(10)

    monkeypatch.setattr(type(edge), "upsert", stopping)

    async def main() -> None:
        task = asyncio.create_task(collection.aadd(records))
        await asyncio.to_thread(written.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        # One at a time: this begins when the thread of the cancelled call has ended.
        assert await collection.aadd(records[:1]) == ["r0"]
        held = {passage.id for passage in collection.each()}
        assert held == {record.id for record in records[:512]}
        await collection.aadd(records)

    asyncio.run(main())
    assert collection.count() == 1_500


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_threads_of_its_own() -> None:
    script = """
        import asyncio, os
        from decant.integrations.qdrant import run_in_thread

        asyncio.run(run_in_thread(divmod, 7, 2))
        child = os.fork()
        answer = asyncio.run(asyncio.wait_for(run_in_thread(divmod, 7, 2), 10))
        if child == 0:
            os._exit(0 if answer == (3, 1) else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert _run(script) == "0\n"


def test_the_end_of_the_process_does_not_wait_for_a_call_that_hangs() -> None:
    script = """
        import asyncio, threading, time
        from decant.integrations.qdrant import run_in_thread

        async def main():
            task = asyncio.create_task(run_in_thread(threading.Event().wait))
            await asyncio.sleep(0.01)
            task.cancel()

        asyncio.run(main())
        print("done")
    """
    assert _run(script) == "done\n"


def _run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout
