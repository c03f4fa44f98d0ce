"""Let 64 coroutines search while another writes, on Edge and at a server, and check every answer.

Five hundred records stay, each with a text of its own; the writer adds, replaces and deletes
others. A searcher asks for one that stays, by its text: it must be found first, with its own text,
and no hit may come twice or be one that was never written. The server is the double of the tests,
in a process of its own.

Usage: python experiments/event_loop/searchers_and_writer.py [--seconds 300]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, Record, Store, connect

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from qdrant_double import QdrantDouble

STAYING = 500
SEARCHERS = 64


@dataclass
class Seen:
    """What happened.

    Args:
        seconds: Of each search.
        wrong: Descriptions of wrong answers and errors.
        writes: How many batches were written.
        threads: The most threads at once.
    """

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    writes: int = 0
    threads: int = 0


def text_of(number: int) -> str:
    """Return the text of a record that stays."""
    return f"staying {number} is about subject{number} and word{number * 7919 % 1009}"


async def run(docs: Collection, seconds: float) -> Seen:  # noqa: C901 - its parts share all
    """Search and write for so long."""
    seen, end = Seen(), time.monotonic() + seconds
    await docs.aadd(
        [Record(id=f"stay-{number}", text=text_of(number)) for number in range(STAYING)]
    )

    async def search(task: int) -> None:
        draw = random.Random(task)  # noqa: S311 - not a secret
        while time.monotonic() < end:
            number = draw.randrange(STAYING)
            began = time.perf_counter()
            try:
                hits = await docs.asearch(text_of(number), limit=5)
            except Exception as error:  # noqa: BLE001 - any is counted
                seen.wrong.append(repr(error))
                continue
            seen.seconds.append(time.perf_counter() - began)
            seen.threads = max(seen.threads, threading.active_count())
            ids = [hit.id for hit in hits]
            if not ids or ids[0] != f"stay-{number}" or hits[0].text != text_of(number):
                seen.wrong.append(f"asked for {number}, found {ids}")
            if len({*ids}) < len(ids) or not all(one.startswith(("stay", "go")) for one in ids):
                seen.wrong.append(f"found {ids}")

    async def write() -> None:
        turn = 0
        while time.monotonic() < end:
            place = turn % 20
            records = [
                Record(id=f"go-{place}-{number}", text=f"going {turn} {number} passes by")
                for number in range(16)
            ]
            try:
                await docs.aadd(records)
                if turn % 3 == 2:
                    await docs.adelete([record.id for record in records if record.id])
            except Exception as error:  # noqa: BLE001 - any is counted
                seen.wrong.append(repr(error))
            seen.writes += 1
            turn += 1
            await asyncio.sleep(0.05)

    await asyncio.gather(write(), *(search(task) for task in range(SEARCHERS)))
    if (staying := len(await docs.aget([f"stay-{number}" for number in range(STAYING)]))) < STAYING:
        seen.wrong.append(f"only {staying} stayed")
    return seen


def serve(pipe: Connection) -> None:
    """Run the double until the process is ended."""
    with QdrantDouble() as double:
        pipe.send(double.url)
        pipe.recv()


def report(name: str, store: Store, seconds: float) -> None:
    """Run on one store, and print what happened."""
    docs = Collection.create(store, "docs", HashEncoder(256))
    seen = asyncio.run(run(docs, seconds))
    ordered = sorted(seen.seconds)
    print(
        f"{name:7} {len(ordered)} searches, {seen.writes} batches written, "
        f"{len(seen.wrong)} wrong {seen.wrong[:3]}; p50 {1e3 * ordered[len(ordered) // 2]:.1f} ms, "
        f"p99 {1e3 * ordered[int(0.99 * len(ordered))]:.1f} ms; {seen.threads} threads",
        flush=True,
    )


def main() -> None:
    """Run on both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, connect(folder) as store:
        report("edge", store, given.seconds)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    with connect(ours.recv()) as store:
        report("server", store, given.seconds)
    server.terminate()


if __name__ == "__main__":
    main()
