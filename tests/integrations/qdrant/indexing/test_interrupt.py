"""One Ctrl-C ends indexing while the server hangs, and nothing is written afterwards."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, CollectionMetadata, Document, connect
from decant.integrations.qdrant.indexing.report import IndexReport
from fault_server import FaultServer, Hang, running

WRITING = "PUT /collections/docs/points"


@pytest.fixture
def server(encoder: HashEncoder) -> Iterator[FaultServer]:
    with running(FaultServer()) as server:
        server.card = CollectionMetadata.of(encoder).to_json()
        yield server


@pytest.fixture
def collection(server: FaultServer, encoder: HashEncoder) -> Iterator[Collection]:
    with connect(server.url) as store:
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


def test_a_signal_ends_it_while_a_read_hangs(server: FaultServer, collection: Collection) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("a signal reaches the main thread only, and this test runs in another one")
    server.only, server.always = "POST /collections/docs/points", Hang()

    main = threading.get_ident()

    ended = threading.Event()

    def strike() -> None:
        server.hanging.wait()
        # A signal that comes just before the read begins is seen when that ends; nothing tells
        # from outside that it has begun, so another one follows while nothing has happened.
        while not ended.wait(1.0):
            signal.pthread_kill(main, signal.SIGINT)
            # On a busy machine the first may take long; a second one after it would end pytest.
            ended.wait(60.0)

    striker = threading.Thread(target=strike)
    striker.start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            collection.index(documents(100))
    finally:
        ended.set()
        signal.signal(signal.SIGINT, before)
    assert not server.released.is_set()
    striker.join()
    assert writers() == []
