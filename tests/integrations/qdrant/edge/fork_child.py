"""Fork with a collection open, in every way that is used; run by ``test_fork.py``.

Forking a process with threads warns, which is an error in the tests' own process. Arguments: the
folder of a collection ``docs`` of one record, and the name of one of the functions below.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import Collection, Record, connect

ENCODER = HashEncoder(16)
FOLDER = Path(sys.argv[1])
STORE = connect(FOLDER)
DOCS = Collection.open(STORE, "docs", ENCODER)


def say(*words: object) -> None:
    """Write a line that is out before the process ends in any way."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def refusal(act: Callable[[], object]) -> str:
    """Return what a call is refused with."""
    try:
        return f"not refused: {act()!r}"
    except StoreError as error:
        return str(error)


def forked(work: Callable[[], object]) -> int:
    """Do work in a forked child that ends as programs do, and return the child's id."""
    if (child := os.fork()) == 0:
        work()
        sys.exit(0)
    return child


def wait(*children: int) -> None:
    """Wait until children have ended, and say how."""
    say("ended", *(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))


def add(name: str, count: int = 50) -> None:
    """Add records in this process."""
    DOCS.add([Record(id=f"{name}-{number}", text=f"text {number}") for number in range(count)])


def every_method() -> None:
    """Call each method of the inherited store in the child, and close it there."""

    def work() -> None:
        vector = ENCODER.encode(["one"], role="query").dense[0]  # type: ignore[arg-type]
        for act in (
            STORE.names,
            lambda: STORE.create("new", STORE.card("docs"), None),  # type: ignore[arg-type]
            lambda: STORE.card("docs"),
            lambda: STORE.drop("docs"),
            lambda: STORE.flush("docs"),
            lambda: STORE.optimize("docs"),
            lambda: STORE.delete("docs", ["1"]),
            DOCS.count,
            lambda: DOCS.search("one"),
            lambda: DOCS.search_vector(vector),
            lambda: DOCS.add([Record(text="child")]),
            lambda: DOCS.get(["1"]),
            lambda: list(DOCS.each()),
            lambda: Collection.open(STORE, "docs", ENCODER),
        ):
            said = refusal(act)
            assert "was connected in process" in said, said
            assert "call connect() after the fork" in said, said
        with STORE:
            pass
        STORE.close()

    wait(forked(work))
    add("after")
    say("count", DOCS.count())


def both_write_and_close() -> None:
    """Let children end in every way, with the store let go, while the parent writes."""

    def let_go() -> None:
        assert "after the fork" in refusal(lambda: add("child"))
        STORE.close()
        for name in ("STORE", "DOCS"):
            del globals()[name]
        gc.collect()

    children = [forked(let_go), forked(lambda: os._exit(0)), forked(lambda: None)]
    add("a")
    children.append(forked(gc.collect))
    add("b")
    wait(*children)
    STORE.close()
    with connect(FOLDER) as store:
        docs = Collection.open(store, "docs", ENCODER)
        say("count", docs.count(), "found", len(docs.search("text", limit=200)))


def connect_in_the_child() -> None:
    """Connect anew in a child: refused while the parent has it open, and fine afterwards."""
    receive, send = os.pipe()
    refused, done = os.pipe()

    def work() -> None:
        with connect(FOLDER) as store:
            say(refusal(lambda: Collection.open(store, "docs", ENCODER)))
            say(refusal(lambda: store.drop("docs")))
            other = Collection.create(store, "other", ENCODER)
            other.add([Record(id="o", text="other")])
            os.close(send)
            os.write(done, b"x")
            os.read(receive, 1)
            docs = Collection.open(store, "docs", ENCODER)
            docs.add([Record(id="child", text="child")])
            say("child", docs.count(), other.count())

    child = forked(work)
    os.close(receive)
    os.read(refused, 1)
    STORE.close()
    os.close(send)
    wait(child)
    with connect(FOLDER) as store:
        say("count", Collection.open(store, "docs", ENCODER).count(), *store.names())


def lock_of_a_closed_parent() -> None:
    """Close in the parent while a child, which only inherited, lives on."""
    receive, send = os.pipe()

    def work() -> None:
        os.close(send)
        os.read(receive, 1)

    child = forked(work)
    os.close(receive)
    STORE.close()
    with connect(FOLDER) as store:
        say("count", Collection.open(store, "docs", ENCODER).count())
    os.close(send)
    wait(child)


def _in_a_pool(number: int) -> str:
    said = refusal(DOCS.count)
    with connect(FOLDER / f"own-{number}") as store:
        own = Collection.create(store, "docs", ENCODER)
        own.add([Record(text="own")])
        return f"{own.count()} {'call connect() after the fork' in said}"


def multiprocessing_pool() -> None:
    """Use a pool of forked workers, each with a store of its own."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        say("pool", *pool.map(_in_a_pool, range(4)))
    say("count", DOCS.count())


if __name__ == "__main__":
    globals()[sys.argv[2]]()
