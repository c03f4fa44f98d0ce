"""Carry out plans: embed in one thread, write in another, while the caller makes the next plans.

Chunks of many small documents are embedded together, so that batches are full. Steps stay in order
from end to end, which is all that crash safety needs here: a document's marker is opened before its
chunks are written, and closed after them. Every queue is bounded, and so is memory.

A request that was sent cannot be interrupted. After Ctrl-C the caller does not wait for it; the
thread that waits for the answer sends no other request, and the next run waits for its end.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from threading import Condition, Event, Thread
from types import TracebackType
from typing import Self

from decant.embedders.telemetry import carried

from ...stop import Stopped, check_stopped, stoppable
from ..inference.rows import stream_passage_rows
from ..points.handle import Target
from ..points.vectors import Row
from ..stores.protocol import Engine, Point, Store, slices
from .plan import Plan
from .report import IndexReport, Tally
from .writer import Step, Writer

_STEP = 64  # points in a step
_QUEUED = 4_096  # points between two threads, so that a group is planned while one is embedded
_HELD = 8_192  # points that may wait behind one text that is being embedded
_RECENT = 4_096  # texts whose vectors are cached for repetitions
_TICK = 0.1  # seconds between two reports of progress while the caller waits
_GRACE = 1.0  # seconds for which Ctrl-C waits for a request
_BATCH_GRACE = 5.0  # and for the present batch of the encoder


class _Line:
    """A bounded queue between two threads that can be stopped from any thread.

    It takes steps until they have too many points; a step without points counts as one.

    Args:
        most: So many points are too many.
    """

    def __init__(self, most: int = _QUEUED) -> None:
        self._most = most
        self._items: deque[Step | None] = deque()
        self._points = 0
        self._changed = Condition()
        self._stopped = False

    def put(self, item: Step | None, report_progress: Callable[[], object] | None = None) -> None:
        while not self._offer(item, None if report_progress is None else _TICK):
            if report_progress is not None:
                report_progress()

    def _offer(self, item: Step | None, timeout: float | None) -> bool:
        with self._changed:
            is_free = self._changed.wait_for(
                lambda: self._stopped or self._points < self._most, timeout
            )
            if self._stopped:
                raise Stopped
            if is_free:
                self._items.append(item)
                self._points += _weight(item)
                self._changed.notify_all()
            return is_free

    def get(self) -> Step | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._items)
            if self._stopped:
                raise Stopped
            item = self._items.popleft()
            self._points -= _weight(item)
            self._changed.notify_all()
            return item

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def check(self) -> None:
        if self._stopped:
            raise Stopped


def _weight(step: Step | None) -> int:
    return 1 if step is None else max(1, len(step.points))


@dataclass(slots=True)
class _Text:
    """A text that waits for its vectors; repetitions of it share this object."""

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

    Leaving the block without :meth:`finish` drops the remaining work, and waits until both threads
    have ended. After Ctrl-C it does not wait for a server that does not answer. An error of a
    background thread is raised from :meth:`put` or :meth:`finish`.

    Args:
        target: The collection; its encoder runs in one background thread.
        writer: Writes the steps, in the other thread.
        tally: Counts embedded texts at once.
        report_progress: Called now and then, in the caller's thread, while that waits.
    """

    def __init__(
        self, target: Target, writer: Writer, tally: Tally, report_progress: Callable[[], object]
    ) -> None:
        self._writer = writer
        self._report_progress = report_progress
        self._key = _key(target.store, target.name)
        self._is_remote = target.store.engine is Engine.REMOTE
        self._stop = Event()
        self._error: BaseException | None = None
        self._to_embed: _Line = _Line()
        self._to_write: _Line = _Line(target.held(_QUEUED))
        embedder = _Embedder(target, tally, self._to_embed, self._to_write)
        self._threads = [
            Thread(target=carried(self._guarded), args=(work,), name=f"decant-{name}", daemon=True)
            for name, work in (("embed", embedder.run), ("write", self._write))
        ]

    def put(self, plan: Plan) -> None:
        """Add a plan; this waits while too much work is queued."""
        check_stopped()
        try:
            for step in _steps(plan):
                self._to_embed.put(step, self._poll)
        except Stopped:
            self._raise()
            raise

    def finish(self) -> None:
        """Wait until all plans are carried out."""
        try:
            self._to_embed.put(None, self._poll)
        except Stopped:
            self._raise()
            raise
        for thread in self._threads:
            while thread.is_alive():
                thread.join(_TICK)
                self._poll()
        self._raise()

    def __enter__(self) -> Self:
        """Start the threads, after those of an interrupted earlier run have ended."""
        _await_left(self._key)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop unfinished work, and wait for the threads to end."""
        self._halt()
        if error is None or isinstance(error, Exception):
            _join(self._threads)
            return
        _LEFT[self._key] = _LEFT.get(self._key, []) + self._threads
        embedding, writing = self._threads
        # An engine in this process always answers, and it is closed next.
        writing.join(_GRACE if self._is_remote else None)
        embedding.join(_BATCH_GRACE)

    def _poll(self) -> None:
        check_stopped()  # the code that runs the caller's thread may have stopped it
        self._report_progress()

    def _write(self) -> None:
        while (step := self._to_write.get()) is not None:
            self._writer.take(step)
        self._writer.flush()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            with stoppable(self._stop):
                work()
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            self._error = self._error or error
            self._halt()

    def _halt(self) -> None:
        self._stop.set()
        self._to_embed.stop()
        self._to_write.stop()

    def _raise(self) -> None:
        if self._error is not None:
            _join(self._threads)
            raise self._error


_LEFT: dict[tuple[str, Hashable, str], list[Thread]] = {}


def _await_left(key: tuple[str, Hashable, str]) -> None:
    # This waits for one request at most, so no longer than one attempt's timeout.
    _join(_LEFT.get(key, []))
    _LEFT.pop(key, None)  # not earlier, because Ctrl-C may end the waiting, too


def _join(threads: list[Thread]) -> None:
    for thread in threads:
        thread.join()


def _key(store: Store, name: str) -> tuple[str, Hashable, str]:
    return store.engine.value, store.identity, name


class _Embedder:
    """Adds the vectors to all points, in one thread and one pass of the encoder."""

    def __init__(
        self,
        target: Target,
        tally: Tally,
        source: _Line,
        sink: _Line,
    ) -> None:
        self._target = target
        self._tally = tally
        self._source = source
        self._sink = sink
        self._ended = False
        self._held = 0
        self._most_held, self._most_recent = target.held(_HELD), target.held(_RECENT)
        self._steps: deque[_Waiting] = deque()
        self._asked: deque[_Text] = deque()
        self._recent: OrderedDict[str, _Text] = OrderedDict()

    def run(self) -> None:
        """Work until the source ends, then end the sink."""
        while not self._ended:
            blocks = stream_passage_rows(
                self._target, self._texts(), owners=self._owners, progress=self._count
            )
            for rows in blocks:
                for row in rows:
                    self._asked.popleft().row = row
                self._pass_on()
        assert not self._steps, "the encoder returned fewer vectors than it got texts"
        self._sink.put(None)

    def _owners(self, count: int) -> list[str]:
        return [text.owner for text in islice(self._asked, count)]

    def _count(self, embedded: int) -> None:
        self._tally.add(IndexReport(embedded=embedded))
        self._sink.check()  # so that a stopped run ends with the batch, not with the block

    def _texts(self) -> Iterator[str]:
        """Yield texts to embed; end when too many points wait, so that the encoder catches up."""
        while self._held < self._most_held:
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
        while len(self._recent) > self._most_recent:
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
