"""Fork while another thread indexes and deletes; run by ``test_locks.py``.

Forking a process with threads warns, which is an error in the tests' own process. The client's
local mode is a store that children may use: each has its own copy of it.
"""

from __future__ import annotations

import os
import signal
import sys
from threading import Event, Thread

from qdrant_client import QdrantClient

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, Document, connect
from decant.integrations.qdrant.points.locks import lock_of

STORE = connect(QdrantClient(":memory:"))
DOCS = Collection.create(STORE, "docs", HashEncoder(16))


def hold(held: Event, done: Event) -> None:
    """Hold all locks of the collection, as a thread that writes does."""
    lock = lock_of(STORE, "docs", STORE.card("docs").mark)
    with lock.indexing, lock.writing, lock.noting:
        held.set()
        done.wait()


def main() -> None:
    """Index and delete in a child, through what it inherited."""
    DOCS.index([Document(source="old", text="text", root="r")])
    held, done = Event(), Event()
    thread = Thread(target=hold, args=(held, done))
    thread.start()
    held.wait()
    if (child := os.fork()) == 0:
        signal.alarm(20)  # ends a child that waits for ever
        report = DOCS.index([Document(source="new", text="text", root="r")])
        sys.stdout.write(f"{report.removed} {DOCS.delete_source('new')}\n")
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    sys.exit(os.waitstatus_to_exitcode(status))


main()
