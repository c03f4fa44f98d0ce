"""Clients of an embedding server: each sends one request after the other on its own connection.

The client is bytes and streams, so that on a machine of two cores it takes little of what is
measured. It knows as much of HTTP as the servers here answer.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles

from decant.embedders import DecantError

_LONGEST_HEAD = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where texts are sent.

    Args:
        port: On this machine.
        path: The route; that of text-embeddings-inference is understood by all servers here.
    """

    port: int
    path: str = "/embed"

    def request(self, *texts: str) -> bytes:
        """Return the bytes of a request for the vectors of some texts."""
        body = json.dumps({"inputs": texts}).encode()
        head = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


@dataclass(slots=True, kw_only=True)
class Answers:
    """What clients saw.

    Args:
        seconds: How long each answer took.
        lost: How many requests had no whole answer though they were in flight in good time.
        wall: How long all of it took.
    """

    seconds: list[float] = field(default_factory=list)
    lost: int = 0
    wall: float = 0.0

    def percentile(self, percent: int) -> float:
        """Return so many percent of the answers took at most this, in milliseconds."""
        return 1000 * quantiles(self.seconds, n=100)[percent - 1]


class Connection:
    """One connection, opened when it is first needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> int:
        """Send a request, and return the status of its answer once all of it is here.

        Raises:
            OSError: There is no connection.
            EOFError: It ended within the answer.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                "127.0.0.1", self._port, limit=_LONGEST_HEAD
            )
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, _, rest = head.partition(b"content-length: ")
        await reader.readexactly(int(rest.partition(b"\r\n")[0]))
        if b"connection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def ask_all(target: Target, texts: Sequence[str], *, clients: int) -> Answers:
    """Let clients share texts, one text a request, until all are answered.

    Raises:
        DecantError: An answer has another status than 200.
    """
    found, left = Answers(), iter(texts)

    async def client() -> None:
        connection = Connection(target.port)
        for text in left:
            before = time.perf_counter()
            _check(await connection.ask(target.request(text)))
            found.seconds.append(time.perf_counter() - before)
        connection.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    found.wall = time.perf_counter() - start
    return found


async def ask_beside_load(
    queries: Target, texts: Sequence[str], *, clients: int, load: Sequence[bytes]
) -> Answers:
    """Do the same while another client sends large requests without a pause."""

    async def bulk() -> None:
        connection = Connection(queries.port)
        try:
            while True:
                for request in load:
                    _check(await connection.ask(request))
        finally:
            connection.close()

    task = asyncio.create_task(bulk())
    try:
        return await ask_all(queries, texts, clients=clients)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask_until_it_ends(
    target: Target, texts: Sequence[str], *, clients: int, stop: asyncio.Event
) -> Answers:
    """Send requests until the server takes none; count those in flight at its end that were lost.

    Args:
        target: Where.
        texts: Sent again and again.
        clients: How many.
        stop: Set as the server is asked to stop.
    """
    found = Answers()

    async def client(number: int) -> None:
        connection = Connection(target.port)
        turn = number
        while True:
            before, was_running = time.perf_counter(), not stop.is_set()
            try:
                status = await connection.ask(target.request(texts[turn % len(texts)]))
            except (OSError, EOFError):
                # A request that was sent in the last moment may never have been read.
                waited = time.perf_counter() - before
                found.lost += was_running and waited > 0.1
                connection.close()
                return
            if status == 503:
                connection.close()
                return
            _check(status)
            found.seconds.append(time.perf_counter() - before)
            turn += clients

    await asyncio.gather(*(client(number) for number in range(clients)))
    return found


def _check(status: int) -> None:
    if status != 200:
        raise DecantError(f"a request was answered with {status}")
