"""One Ctrl-C ends indexing while the server hangs, and nothing is written afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, CollectionMetadata, Document, connect
from decant.integrations.qdrant.indexing.report import IndexReport
from fault_server import FaultServer, Hang, running

CHILD = Path(__file__).with_name("interrupted_child.py")
WRITING = "PUT /collections/docs/points"


@pytest.fixture
def server(encoder: HashEncoder) -> Iterator[FaultServer]:
    with running(FaultServer()) as server:
        server.card = CollectionMetadata.of(encoder).to_json()
        yield server


@pytest.fixture
def collection(server: FaultServer, encoder: HashEncoder) -> Iterator[Collection]:
    with connect(server.url) as store:
        # The server stores nothing, a lease neither.
        store.lease = lambda _name, _mark: None  # type: ignore[attr-defined]
        yield Collection.open(store, "docs", encoder)


def documents(count: int) -> list[Document]:
    return [Document(source=f"{number}.txt", text=f"text {number}") for number in range(count)]


def writers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "decant-write"]


def test_it_ends_while_a_write_hangs_and_nothing_is_written_later(
    server: FaultServer, collection: Collection
) -> None:
    server.only, server.always = WRITING, Hang()
    interrupted = 0.0

    def progress(report: IndexReport) -> None:
        nonlocal interrupted
        if server.hanging.is_set():
            interrupted = monotonic()
            raise KeyboardInterrupt  # where Ctrl-C raises it: in the thread that waits

    with pytest.raises(KeyboardInterrupt):
        collection.index(documents(100), progress=progress)
    assert monotonic() - interrupted < 10, "the write hangs for 20 s"
    (writer,) = writers()  # which waits for its answer
    server.released.set()  # the connection breaks, which is asked again otherwise
    writer.join()
    assert writers() == []
    assert server.asked.count(WRITING) == 1


def test_the_next_run_begins_when_the_writer_has_ended(
    server: FaultServer, collection: Collection
) -> None:
    server.only = WRITING
    server.faults.append(Hang())

    def interrupt(report: IndexReport) -> None:
        if server.hanging.is_set():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collection.index(documents(100), progress=interrupt)
    (writer,) = writers()
    threading.Timer(0.05, server.released.set).start()
    seen: list[bool] = []

    def progress(report: IndexReport) -> None:
        seen.append(writer.is_alive())

    assert collection.index(documents(100), progress=progress).added == 100
    assert not any(seen)


def test_a_signal_ends_it_while_a_read_hangs() -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    child = subprocess.Popen(
        [sys.executable, str(CHILD)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "hanging\n"
        while child.poll() is None:
            # A signal that comes just before the read begins is seen when that ends; nothing tells
            # from outside that it has begun, so another one follows where nothing has happened.
            time.sleep(1.0)
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(15.0)
    assert child.returncode == 0
