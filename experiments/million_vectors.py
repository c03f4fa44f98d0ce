"""What a million vectors need: memory and disk while they are loaded, searched, dumped, restored.

``python experiments/million_vectors.py --scratch FOLDER --count 1000000`` loads seeded vectors of
384 numbers with short texts into a collection on Edge, within :meth:`Collection.bulk`, searches it
exactly, dumps it and restores the dump into another folder. Each step runs in a process of its own
that measures itself: the peak of its resident memory, and of that part of it which is not the
pages of mapped files, which the system takes back when others need them. ``--storage`` chooses the
layout, ``--optimize`` builds the vector index, too. Times are no benchmark: other work may run
beside. The scratch folder is emptied at the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Record,
    SearchOptions,
    Storage,
    connect,
    dump,
    restore,
)

_DIM, _BATCH, _QUERIES = 384, 1_000, 5
_STEPS = ("load", "search", "optimize", "search-optimized", "dump", "restore", "search-restored")
_OPTIMIZING = ("optimize", "search-optimized")
_MIB = 2**20


def main() -> None:
    """Run all steps, or one of them and print JSON."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--scratch", type=Path, required=True)
    made.add_argument("--count", type=int, default=1_000_000)
    made.add_argument("--storage", type=Storage, default=Storage.FULL)
    made.add_argument("--optimize", action="store_true", help="build the vector index, too")
    made.add_argument("--one", choices=_STEPS, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.one is not None:
        peak = _Peak()
        began = time.perf_counter()
        found = _step(options.one, options.scratch, options.count, options.storage)
        seconds = round(time.perf_counter() - began, 1)
        print(json.dumps({"seconds": seconds, **peak.end(), **found}))
        return
    options.scratch.mkdir(parents=True, exist_ok=True)
    try:
        print("| step | seconds | peak RSS, MiB | without mapped files, MiB | |")
        print("|---|---:|---:|---:|---|", flush=True)
        for step in _STEPS:
            if step in _OPTIMIZING and not options.optimize:
                continue
            found = _run(step)
            seconds, peak, own = (found.pop(key) for key in ("seconds", "peak_mib", "own_mib"))
            said = ", ".join(f"{name} {value:,}" for name, value in found.items())
            print(f"| {step} | {seconds} | {peak:,} | {own:,} | {said} |", flush=True)
    finally:
        shutil.rmtree(options.scratch)


def _run(step: str) -> dict[str, float]:
    command = [sys.executable, *sys.argv, "--one", step]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _step(step: str, scratch: Path, count: int, storage: Storage) -> dict[str, float]:
    encoder, file = HashEncoder(_DIM), scratch / "million.dump"
    match step:
        case "load":
            with connect(scratch / "index") as store:
                settings = CollectionSettings(storage=storage)
                loaded = Collection.create(store, "docs", encoder, settings=settings)
                with loaded.bulk():
                    for start, rows in _batches(count):
                        records = [
                            Record(id=str(number), text=f"text {number}", source=f"book {number}")
                            for number in range(start, start + len(rows))
                        ]
                        loaded.add(records, vectors=rows)
            return _disk(scratch / "index", count)
        case "dump":
            with connect(scratch / "index", read_only=True) as store:
                report = dump(store, "docs", file)
            return {"bytes_a_point": round(report.bytes / count)}
        case "restore":
            with connect(scratch / "restored") as store:
                restore(file, store, "docs")
            return _disk(scratch / "restored", count)
        case "optimize":
            with connect(scratch / "index") as store:
                Collection.open(store, "docs", encoder).optimize()
            return _disk(scratch / "index", count)
        case _:
            folder = scratch / ("restored" if step == "search-restored" else "index")
            with connect(folder) as store:
                return _search(Collection.open(store, "docs", encoder), count)


def _search(held: Collection, count: int) -> dict[str, float]:
    """Search for known vectors exactly, and return how many were first, and the time of one."""
    first = 0
    began = time.perf_counter()
    for place in range(_QUERIES):
        number = place * (count // _QUERIES)
        start = number - number % _BATCH
        row = _rows(start, min(_BATCH, count - start))[number - start]
        (hit,) = held.search_vector(row, limit=1, options=SearchOptions(exact=True))
        first += hit.id == str(number)
    took = time.perf_counter() - began
    return {"found": first, "of": _QUERIES, "seconds_each": round(took / _QUERIES, 2)}


def _batches(count: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for start in range(0, count, _BATCH):
        yield start, _rows(start, min(_BATCH, count - start))


def _rows(start: int, size: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng([7, start]).standard_normal((size, _DIM), dtype=np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _disk(folder: Path, count: int) -> dict[str, float]:
    """Return how many bytes of the disk a point takes, in all and by the kind of file."""
    sizes: dict[str, int] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            kind = next((part for part in path.parts if part in _KINDS), "other")
            sizes[kind] = sizes.get(kind, 0) + path.stat().st_blocks * 512
    parts = {kind: round(size / count) for kind, size in sorted(sizes.items())}
    return {"bytes_a_point": round(sum(sizes.values()) / count), **parts}


_KINDS = ("vector_storage-dense", "vector_index-dense", "payload_storage", "payload_index", "wal")


class _Peak:
    """Watches the memory of this process, from its beginning."""

    def __init__(self) -> None:
        self._own = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> dict[str, int]:
        """Return the peaks in MiB."""
        self._ended.set()
        self._thread.join()
        return {"peak_mib": _status("VmHWM") // _MIB, "own_mib": self._own // _MIB}

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            self._own = max(self._own, _status("RssAnon"))


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


if __name__ == "__main__":
    main()
