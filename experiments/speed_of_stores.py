"""How long indexing, searching and adding take with an encoder that costs next to nothing.

Run it by turns on two checkouts, with ``PYTHONPATH=<checkout>/.typing``, and compare medians: what
is left is the share of decant and of the engine.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from time import perf_counter, sleep

import numpy as np
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, Document, Record, connect

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


def text(seed: int, length: int) -> str:
    """Return a text of so many words, the same for a seed."""
    return " ".join(np.random.default_rng(seed).choice(WORDS, length))


def documents(count: int, *, first: int = 0) -> list[Document]:
    """Return documents of 40 words each."""
    numbers = range(first, first + count)
    return [Document(source=f"d{number}", text=text(number, 40)) for number in numbers]


def together(count: int, work: Callable[[], object]) -> None:
    """Do the same work in several threads at once."""
    threads = [Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(collection: Collection) -> dict[str, float]:
    """Return seconds by what was done."""
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], object]) -> None:
        start = perf_counter()
        work()
        seconds[name] = perf_counter() - start

    def search(times: int, limit: int = 10) -> None:
        for number in range(times):
            collection.search(text(number, 5), limit=limit)

    whole = documents(1000)
    records = [Record(id=f"r{number}", text=text(number, 8)) for number in range(2000)]
    timed("index 1000", lambda: collection.index(whole))
    timed("index again", lambda: collection.index(whole))
    timed("search 300", lambda: search(300))
    timed("search 200, 50 hits", lambda: search(200, 50))
    timed("search 8 x 40", lambda: together(8, lambda: search(40)))
    timed("search 64 x 40", lambda: together(64, lambda: search(40)))
    timed("add one, 300 times", lambda: [collection.add([record]) for record in records[:300]])
    timed("add 2000", lambda: collection.add(records))
    stop = Event()

    def always() -> None:
        while not stop.is_set():
            collection.search("alpha beta", limit=10)

    threads = [Thread(target=always) for _ in range(64)]
    for thread in threads:
        thread.start()
    sleep(0.3)
    more = documents(100, first=10**6)
    timed("index 100 while 64 search", lambda: collection.index(more))
    stop.set()
    for thread in threads:
        thread.join()
    return seconds


def main() -> None:
    """Measure Edge and local mode, and write JSON."""
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name, place in (("edge", Path(folder) / "store"), ("local", QdrantClient(":memory:"))):
            with connect(place) as store:
                found[name] = measure(Collection.create(store, "docs", HashEncoder(dim=64)))
    json.dump(found, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
