"""The worker of one model: it takes passes from the queue, and gives each client its own vectors.

Encoders are synchronous and have threads of their own, so of each lane one pass runs at a time, in
the lane's thread. A query does not wait for a pass of passages: the two share the machine.
The vectors of a pass are those of one call ``encode(texts of the pass)``. Where a provider gives a
text the same bits in every batch they are also those of ``encode([text])``, bit for bit; elsewhere
they are equal up to rounding, as for every batch of that encoder.

Invariants: what was accepted is answered, also while the worker stops; a text that fails does not
fail those that were in its pass; a client that goes away leaves nothing in the queue.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Self

from decant.embedders import Vectors
from decant.embedders.encoding import joined
from decant.embedders.span_protocol import Origin, prefixed
from decant.embedders.telemetry import present_origin, span

from ..errors import Overloaded, RequestTooLarge, ServerStopping
from .passes import Key, Lane, Pass, PassPart, Text, Ticket, Work, WorkKey, vector_rows
from .work_queue import QueueSettings, WorkQueue

Encode = Callable[[Sequence[Text], Key], Vectors]
"""Turns the texts of a pass into vectors; called in the worker's thread."""
Clock = Callable[[], float]
"""Returns seconds."""

_LONGEST_RETRY = 60
_LARGE = 1_048_576  # bytes that are copied in less time than a thread takes to begin
_NEWEST = 0.2  # how much the latest pass weighs in the measured speed


@dataclass(frozen=True, slots=True, kw_only=True)
class PassReport:
    """What a pass was, for metrics.

    Args:
        lane: Where its texts waited.
        texts: How many texts it had.
        tokens: How many tokens the model read.
        seconds: How long it took.
    """

    lane: Lane
    texts: int
    tokens: int
    seconds: float


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """A client that waits, where its request comes from, and the vectors of its first texts."""

    future: asyncio.Future[None]
    origin: Origin | None = None
    parts: list[Vectors] = field(default_factory=list)


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="decant-serve")


@dataclass(slots=True, kw_only=True)
class _LaneLoop:
    """What takes the passes of one lane, one after the other."""

    thread: ThreadPoolExecutor = field(default_factory=_thread)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class BatchWorker(Generic[Key, Text]):
    """Encodes the work of many clients, pass by pass; an async context manager.

    Args:
        encode: Turns texts into vectors.
        settings: How much may wait, and how it is cut into passes.
        clock: Returns seconds.
        on_pass: Called after each pass that succeeded.
    """

    def __init__(
        self,
        encode: Encode[Text, Key],
        settings: QueueSettings,
        *,
        clock: Clock = time.monotonic,
        on_pass: Callable[[PassReport], object] | None = None,
    ) -> None:
        self._encode = encode
        self._settings = settings
        self._queue = WorkQueue[Key, Text](settings)
        self._clock = clock
        self._on_pass = on_pass
        self._waiting: dict[Ticket[Key, Text], _Waiting] = {}
        self._lanes = {lane: _LaneLoop() for lane in Lane}
        self._stopping = False
        self._tokens_per_second: float | None = None

    @property
    def settings(self) -> QueueSettings:
        """How much may wait, and how it is cut into passes."""
        return self._settings

    @property
    def queue(self) -> WorkQueue[Key, Text]:
        """What waits; not to be changed from outside."""
        return self._queue

    @property
    def is_running(self) -> bool:
        """Whether work is accepted."""
        loops = self._lanes.values()
        return not self._stopping and all(loop.task and not loop.task.done() for loop in loops)

    async def __aenter__(self) -> Self:
        """Start taking passes."""
        for lane, loop in self._lanes.items():
            loop.task = asyncio.create_task(self._work(lane))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; see :meth:`stop`."""
        await self.stop()

    def check_size(self, tokens: int) -> None:
        """Refuse a request that could not even be accepted by an empty queue.

        Raises:
            RequestTooLarge: It has more tokens than the queue takes.
        """
        if tokens > self._settings.capacity:
            raise RequestTooLarge(
                f"the texts of this request have {tokens:,} tokens, and at most "
                f"{self._settings.capacity:,} may wait; send them in several requests"
            )

    async def encode(self, work: Work[Key, Text]) -> Vectors:
        """Return one vector per text, in the order given, once the model has read them.

        If the caller is cancelled, what of the work still waits leaves the queue.

        Raises:
            RequestTooLarge: The work has more tokens than the queue takes.
            Overloaded: The queue is full.
            ServerStopping: The worker has not begun, or takes nothing new.
            DecantError: Any error of the encoder for these texts.
        """
        self.check_size(work.total)
        if not self.is_running:
            raise ServerStopping("the server is stopping; send the request to another one")
        if not self._queue.has_room(work.total):
            raise Overloaded(
                f"{self._queue.tokens:,} tokens wait already, of at most "
                f"{self._settings.capacity:,}; try again later",
                retry_after=self._seconds_until_room(work.total),
            )
        ticket = self._queue.put(work)
        future = asyncio.get_running_loop().create_future()
        waiting = _Waiting(future=future, origin=present_origin())
        self._waiting[ticket] = waiting
        self._lanes[ticket.lane].wake.set()
        try:
            await waiting.future
        finally:
            self._queue.remove(ticket)
            del self._waiting[ticket]
        return await _joined(waiting.parts, work.key)

    async def stop(self) -> None:
        """Answer everything that was accepted, then return; nothing new is accepted meanwhile."""
        self._stopping = True
        for loop in self._lanes.values():
            loop.wake.set()
        for loop in self._lanes.values():
            if loop.task is not None:
                await loop.task
            loop.thread.shutdown()

    async def _work(self, lane: Lane) -> None:
        loop = self._lanes[lane]
        try:
            while True:
                found = self._queue.take(lane)
                if found is not None:
                    await self._run(found)
                elif self._stopping:
                    return
                else:
                    loop.wake.clear()
                    await loop.wake.wait()
        finally:
            # Reached with clients waiting only if the task itself was cancelled or failed.
            for ticket in self._waiting:
                if ticket.lane is lane:
                    self._fail(ticket, ServerStopping("the server was stopped before it answered"))

    async def _run(self, found: Pass[Key, Text]) -> None:
        texts, key = found.texts, found.key
        started = self._clock()
        loop, thread = asyncio.get_running_loop(), self._lanes[found.lane].thread
        try:
            encode = partial(self._traced, found, self._origins(found))
            vectors = await loop.run_in_executor(thread, encode, texts, key)
            _check_count(vectors, texts)
        except Exception as error:  # noqa: BLE001 - it belongs to a client, and the others go on
            if len(found.parts) == 1:
                self._fail(found.parts[0].ticket, error)
                return
            for part in found.parts:
                if part.ticket in self._waiting:
                    await self._run(Pass(lane=found.lane, key=key, parts=(part,)))
            return
        self._measure(found, self._clock() - started)
        row = 0
        for part in found.parts:
            self._deliver(part, vector_rows(vectors, row, row + len(part)))
            row += len(part)

    def _origins(self, found: Pass[Key, Text]) -> list[Origin]:
        """Return where the requests of a pass come from, each once."""
        clients = [self._waiting.get(part.ticket) for part in found.parts]
        return [it.origin for it in clients if it is not None and it.origin is not None]

    def _traced(
        self, found: Pass[Key, Text], origins: Sequence[Origin], texts: Sequence[Text], key: Key
    ) -> Vectors:
        """Encode in a span: its parent is the first request, the others are linked."""
        with span("decant.pass", origins=origins) as begun:
            if begun.is_recording:
                facts = {"lane": found.lane.value, "texts": len(texts), "tokens": found.tokens}
                begun.set(prefixed(facts))
            return self._encode(texts, key)

    def _deliver(self, part: PassPart[Key, Text], vectors: Vectors) -> None:
        waiting = self._waiting.get(part.ticket)
        if waiting is None or waiting.future.done():
            return
        waiting.parts.append(vectors)
        work = part.ticket.work
        if part.stop == len(work.texts):
            waiting.future.set_result(None)

    def _fail(self, ticket: Ticket[Key, Text], error: Exception) -> None:
        self._queue.remove(ticket)
        waiting = self._waiting.get(ticket)
        if waiting is not None and not waiting.future.done():
            waiting.future.set_exception(error)

    def _measure(self, found: Pass[Key, Text], seconds: float) -> None:
        if seconds > 0:
            speed = found.tokens / seconds
            before = self._tokens_per_second
            self._tokens_per_second = (
                speed if before is None else before + _NEWEST * (speed - before)
            )
        if self._on_pass is not None:
            self._on_pass(
                PassReport(
                    lane=found.lane,
                    texts=sum(map(len, found.parts)),
                    tokens=found.tokens,
                    seconds=seconds,
                )
            )

    def _seconds_until_room(self, tokens: int) -> int:
        """Return after how many seconds the queue should have room for so many tokens."""
        if self._tokens_per_second is None:
            return 1
        surplus = self._queue.tokens + tokens - self._settings.capacity
        return min(_LONGEST_RETRY, max(1, math.ceil(surplus / self._tokens_per_second)))


async def _joined(parts: list[Vectors], key: WorkKey) -> Vectors:
    """Return the vectors of several passes as one; if they are megabytes, a thread copies them."""
    width = parts[0].dense.shape[1]
    if sum(part.dense.nbytes for part in parts) < _LARGE:
        return joined(parts, dim=width, outputs=key.outputs)
    return await asyncio.to_thread(joined, parts, dim=width, outputs=key.outputs)


def _check_count(vectors: Vectors, texts: Sequence[object]) -> None:
    if len(vectors) != len(texts):
        raise RuntimeError(f"the encoder gave {len(vectors)} vectors of {len(texts)} texts")
