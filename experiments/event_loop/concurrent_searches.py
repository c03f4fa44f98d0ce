"""Search with many coroutines at once, from the event loop and from threads, at a slow server.

The server is a double in a process of its own that answers each request after a pause with ten
records, so that nothing but the client's side differs. A ticker in the event loop that the searches
share measures how long that is kept from other work. The sides take turns, round by round.

Usage: python experiments/event_loop/concurrent_searches.py [--searches 200] [--milliseconds 30]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection

from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, CollectionMetadata, connect, run_in_thread

ENCODER = HashEncoder(384)
TICK = 0.001


def answers() -> dict[str, str]:
    """Return what the double says, by the end of a request's first line."""
    payload = {"kind": "record", "root": "", "source": "a.md", "chunk": 0, "start": 0}
    points = [
        {
            "id": f"00000000-0000-4000-8000-{number:012}",
            "version": 1,
            "score": 0.9 - number / 100,
            "payload": {**payload, "id": str(number), "text": "words " * 60, "metadata": {}},
        }
        for number in range(10)
    ]
    config = {
        "params": {"vectors": {"dense": {"size": ENCODER.dim, "distance": "Cosine"}}},
        "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10},
        "optimizer_config": {
            "deleted_threshold": 0.2,
            "vacuum_min_vector_number": 1,
            "default_segment_number": 0,
            "flush_interval_sec": 5,
        },
        "metadata": {
            "decant": CollectionMetadata.of(ENCODER).to_json(),
            "decant_indexes": {},
        },
    }
    info = {"status": "green", "optimizer_status": "ok", "segments_count": 1, "payload_schema": {}}
    found: dict[str, object] = {
        "/points/query": {"points": points},
        "/points": {"operation_id": 1, "status": "completed"},
        "/exists": {"exists": True},
        "/aliases": {"aliases": []},
        "/index": {"operation_id": 1, "status": "completed"},
        "/collections/docs": {**info, "config": config},
    }
    said = {
        path: json.dumps({"result": result, "status": "ok", "time": 0.0})
        for path, result in found.items()
    }
    return {**said, " /": json.dumps({"title": "qdrant - vector search engine", "version": "1.19"})}


def serve(pipe: Connection, host: str, pause: float) -> None:
    """Answer requests until the process is ended."""
    held = answers()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (
                        int(line.partition(":")[2])
                        for line in head.splitlines()
                        if line.lower().startswith("content-length")
                    ),
                    0,
                )
                await reader.readexactly(length)
                line = head.partition(" HTTP/")[0].partition("?")[0]
                body = next((held[end] for end in held if line.endswith(end)), None)
                if line.endswith("/query"):
                    await asyncio.sleep(pause)
                status = "404 Not Found" if body is None else "200 OK"
                said = (body or "{}").encode()
                writer.write(
                    f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(said)}\r\n\r\n".encode()
                )
                writer.write(said)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(talk, host, 0, backlog=1_000)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@dataclass
class Seen:
    """What one side was seen to do.

    Args:
        seconds: Of each search.
        lags: How late each tick of the event loop was.
        walls: The seconds of each round.
        threads: The most threads of the process.
        processor: Seconds of this process's processor time.
        callbacks: Seconds of processor time of each callback that the loop ran.
    """

    seconds: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)
    threads: int = 0
    processor: float = 0.0
    callbacks: list[float] = field(default_factory=list)

    def line(self) -> str:
        """Return the measures for people."""
        each, lags = sorted(self.seconds), sorted(self.lags)
        return (
            f"p50 {1e3 * at(each, 0.5):6.1f} p99 {1e3 * at(each, 0.99):6.1f} ms; loop late by "
            f"p50 {1e3 * at(lags, 0.5):5.2f} p99 {1e3 * at(lags, 0.99):5.2f} most "
            f"{1e3 * lags[-1]:5.1f} ms, over 5 ms {sum(lag > 0.005 for lag in lags)}/{len(lags)}; "
            f"{len(self.seconds) / sum(self.walls):6.0f} searches/s; {self.threads} threads; "
            f"{1e3 * self.processor / len(self.seconds):.2f} ms of processor each; callbacks p99 "
            f"{1e3 * at(sorted(self.callbacks), 0.99):.2f} most {1e3 * max(self.callbacks):.1f} ms,"
            f" over 5 ms {sum(one > 0.005 for one in self.callbacks)}/{len(self.callbacks)}"
        )


def at(ordered: list[float], share: float) -> float:
    """Return a quantile of sorted numbers."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def one_round(
    search: Callable[[str], Awaitable[object]], seen: Seen, searches: int, turns: int
) -> None:
    """Let so many tasks search one after another, and note what happens meanwhile."""
    over = False

    async def tick() -> None:
        while not over:
            began = time.perf_counter()
            await asyncio.sleep(TICK)
            seen.lags.append(time.perf_counter() - began - TICK)
            seen.threads = max(seen.threads, threading.active_count())

    async def work(number: int) -> None:
        for turn in range(turns):
            began = time.perf_counter()
            await search(f"query {number} {turn}")
            seen.seconds.append(time.perf_counter() - began)

    plain = asyncio.Handle._run  # noqa: SLF001 - each callback of a loop passes through it
    own = threading.get_ident()

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        plain(handle)
        if threading.get_ident() == own:
            seen.callbacks.append(time.thread_time() - began)

    asyncio.Handle._run = timed  # type: ignore[method-assign]  # noqa: SLF001
    ticker = asyncio.create_task(tick())
    wall, spent = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work(number) for number in range(searches)))
    seen.walls.append(time.perf_counter() - wall)
    seen.processor += time.process_time() - spent
    over = True
    await ticker
    asyncio.Handle._run = plain  # type: ignore[method-assign]  # noqa: SLF001


def own_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


async def measure(docs: Collection, given: argparse.Namespace) -> dict[str, Seen]:
    """Return what each side was seen to do."""
    loop = own_loop()

    async def elsewhere(query: str) -> object:
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(docs.asearch(query), loop)
        )

    sides: dict[str, Callable[[str], Awaitable[object]]] = {
        "event loop": docs.asearch,
        "threads": partial(run_in_thread, docs.search),
        "own loop": elsewhere,
    }
    seen = {name: Seen() for name in sides if name in given.sides}
    for turn in range(given.rounds + 1):
        for name, held in seen.items():
            noted = held if turn else Seen()  # the first round warms up
            await one_round(sides[name], noted, given.searches, given.turns)
    return seen


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--turns", type=int, default=5, help="searches of each coroutine")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--milliseconds", type=float, default=30)
    parser.add_argument(
        "--freeze", action="store_true", help="keep the collector off what is loaded"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--sides", nargs="+", default=["event loop", "threads", "own loop"])
    given = parser.parse_args()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs, given.host, given.milliseconds / 1e3), daemon=True
    )
    server.start()
    with connect(f"http://{given.host}:{ours.recv()}") as store:
        docs = Collection.open(store, "docs", ENCODER)
        if given.freeze:
            gc.collect()
            gc.freeze()
        for name, seen in asyncio.run(measure(docs, given)).items():
            print(f"{name:10} {seen.line()}")
    server.terminate()


if __name__ == "__main__":
    main()
