"""Carry out plans: embed in one thread, write in another, while the caller makes the next plans.

Chunks of many small documents are embedded together, so that batches are full. Steps stay in
order from end to end, which is all that crash safety asks of this module: a document's opening is
written before its chunks, its closing after them. Every queue is bounded, so memory is too.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Condition, Thread
from types import TracebackType
from typing import Generic, Self, TypeVar

from decant.embedders import Role

from .plan import Plan
from .report import IndexReport, Tally
from .rows import Row, made_rows
from .store import Point, slices
from .target import Target
from .writer import Step, Writer

_STEP = 64  # points a step
_QUEUED = 64  # steps between two threads
_HELD = 8_192  # points that may wait behind one text that is being embedded
_RECENT = 4_096  # texts whose vectors are remembered, for repetitions
_TICK = 0.1  # seconds between two reports of progress while the caller waits

T = TypeVar("T")


class _Stopped(Exception):
    """Another thread has failed or the caller has given up; unwinds this one."""


class _Line(Generic[T]):
    """A bounded queue between two threads that can be stopped from any thread."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._changed = Condition()
        self._stopped = False

    def put(self, item: T, tick: Callable[[], object] | None = None) -> None:
        while not self._offer(item, None if tick is None else _TICK):
            if tick is not None:
                tick()

    def _offer(self, item: T, timeout: float | None) -> bool:
        with self._changed:
            is_free = self._changed.wait_for(
                lambda: self._stopped or len(self._items) < _QUEUED, timeout
            )
            if self._stopped:
                raise _Stopped
            if is_free:
                self._items.append(item)
                self._changed.notify_all()
            return is_free

    def get(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._items)
            if self._stopped:
                raise _Stopped
            self._changed.notify_all()
            return self._items.popleft()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def check(self) -> None:
        if self._stopped:
            raise _Stopped


@dataclass(slots=True)
class _Text:
    """A text on its way to its vectors; repetitions of it share this."""

    text: str
    owner: str
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A step whose points do not all have vectors yet."""

    step: Step
    texts: dict[int, _Text]
    new: list[_Text]

    def is_ready(self) -> bool:
        return all(text.row is not None for text in self.texts.values())

    def finished(self) -> Step:
        points = list(self.step.points)
        for index, text in self.texts.items():
            assert text.row is not None
            points[index] = text.row.on(points[index])
        return replace(self.step, points=points, embedded=len(self.new))


class Pipeline:
    """Embeds and writes plans in the background; use it in a ``with`` block.

    Leaving the block gives up what :meth:`finish` has not waited for. An error of a background
    thread is raised from :meth:`put` or :meth:`finish`.

    Args:
        target: The collection; its encoder gives the vectors, from one background thread.
        writer: Takes the steps, from the other.
        tally: Told what is embedded as soon as it is.
        tick: Called now and then, from the caller's thread, while that waits.
    """

    def __init__(
        self, target: Target, writer: Writer, tally: Tally, tick: Callable[[], object]
    ) -> None:
        self._writer = writer
        self._tick = tick
        self._error: BaseException | None = None
        self._to_embed: _Line[Step | None] = _Line()
        self._to_write: _Line[Step | None] = _Line()
        embedder = _Embedder(target, tally, self._to_embed, self._to_write)
        self._threads = [
            Thread(target=self._guarded, args=(work,), name=f"decant-{name}", daemon=True)
            for name, work in (("embed", embedder.run), ("write", self._write))
        ]

    def put(self, plan: Plan) -> None:
        """Hand over a plan; waits while too much is under way."""
        try:
            for step in _steps(plan):
                self._to_embed.put(step, self._tick)
        except _Stopped:
            self._raise()

    def finish(self) -> None:
        """Wait until all plans are carried out."""
        try:
            self._to_embed.put(None, self._tick)
        except _Stopped:
            self._raise()
        for thread in self._threads:
            while thread.is_alive():
                thread.join(_TICK)
                self._tick()
        self._raise()

    def __enter__(self) -> Self:
        """Start the threads."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give up what is not finished, and wait for the threads to end."""
        self._halt()
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        while (step := self._to_write.get()) is not None:
            self._writer.take(step)
        self._writer.flush()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except _Stopped:
            return
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            self._error = self._error or error
            self._halt()

    def _halt(self) -> None:
        self._to_embed.stop()
        self._to_write.stop()

    def _raise(self) -> None:
        if self._error is not None:
            for thread in self._threads:
                thread.join()
            raise self._error


class _Embedder:
    """Gives every point its vectors, in one thread and one pass."""

    def __init__(
        self,
        target: Target,
        tally: Tally,
        source: _Line[Step | None],
        sink: _Line[Step | None],
    ) -> None:
        self._target = target
        self._tally = tally
        self._source = source
        self._sink = sink
        self._ended = False
        self._held = 0
        self._steps: deque[_Waiting] = deque()
        self._asked: deque[_Text] = deque()
        self._recent: OrderedDict[str, _Text] = OrderedDict()

    def run(self) -> None:
        """Work until the source ends, then end the sink."""
        while not self._ended:
            blocks = self._target.encoder.stream(
                self._texts(),
                role=Role.PASSAGE,
                outputs=self._target.outputs,
                progress=self._count,
            )
            for block in blocks:
                texts = [self._asked.popleft() for _ in range(len(block))]
                owners = [text.owner for text in texts]
                rows = made_rows(self._target, block, owners)
                for text, row in zip(texts, rows, strict=True):
                    text.row = row
                self._pass_on()
        assert not self._steps, "the encoder gave fewer vectors than it was given texts"
        self._sink.put(None)

    def _count(self, embedded: int) -> None:
        self._tally.add(IndexReport(embedded=embedded))
        self._sink.check()  # so that a run given up ends with the batch, not with the block

    def _texts(self) -> Iterator[str]:
        """Yield texts to embed; ends early when too much waits, so that the encoder catches up."""
        while self._held < _HELD:
            step = self._source.get()
            if step is None:
                self._ended = True
                return
            waiting = self._waiting(step)
            self._asked.extend(waiting.new)
            self._steps.append(waiting)
            self._held += len(step.points)
            self._pass_on()
            for text in waiting.new:
                yield text.text

    def _waiting(self, step: Step) -> _Waiting:
        waiting = _Waiting(step, {}, [])
        for index, point in enumerate(step.points):
            if point.dense is not None:
                continue
            digest = str(point.payload["text_sha256"])
            if (text := self._recent.get(digest)) is None:
                text = _text(point)
                waiting.new.append(text)
                self._recent[digest] = text
            waiting.texts[index] = text
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        return waiting

    def _pass_on(self) -> None:
        while self._steps and self._steps[0].is_ready():
            waiting = self._steps.popleft()
            self._held -= len(waiting.step.points)
            self._sink.put(waiting.finished())


def _text(point: Point) -> _Text:
    payload = point.payload
    owner = f"chunk {payload['chunk']} of document {payload['source']!r}"
    return _Text(str(payload["text"]), owner)


def _steps(plan: Plan) -> Iterator[Step]:
    parts = list(slices(plan.fresh, _STEP)) or [()]
    for index, part in enumerate(parts):
        yield Step(
            plan=plan,
            is_first=index == 0,
            points=list(part),
            is_last=index == len(parts) - 1,
        )
