"""Index documents: plan, embed and write in three threads, then delete vanished documents.

Running it again after any interruption gives exactly the result of an undisturbed run. Memory grows
only by some hundred bytes for each document, which finding vanished documents needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from decant.embedders import StoreError, TextError
from decant.embedders.log_events import log_event
from decant.embedders.span_protocol import prefixed

from ..operations.store_span import store_span
from ..points.handle import Target
from ..points.locks import Claims, CollectionLock
from ..points.payloads import CHUNKS, DOCUMENTS
from ..points.provenance import FillingNotes
from ..stores.filters import And, Field, FieldIn
from ..stores.point_ids import DocumentKey
from ..stores.protocol import Select, Store, each
from .bulk import end_deferral
from .check import Checker
from .chunking import Chunking
from .delete import Remover
from .documents import Document, Documents, NothingReadable
from .items import check_series, checked_item
from .pipeline import Pipeline
from .plan import Planner
from .report import IndexProgress, IndexReport, Tally
from .walk import Skipped, Unreadable
from .writer import Destination, Writer

_CALL = "index()"
_DOCUMENTS = "give index(read_documents(folder)), or index([Document(source=..., text=...)])"
# A group costs two reads. The first ones are small, so that the encoder begins early.
_GROUP, _FIRST_GROUP = 1_000, 64
_SETTLED = 256  # documents that are planned and written under the lock at a time
_GROUP_CHARACTERS = 4_000_000
_ATTEMPTS = 5
_PROMISE = Select(fields=("root", "source", "chunks"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The options of a run.

    Args:
        chunking: How to cut.
        verify: Whether stored chunks are also compared if the marker states that they are complete.
        progress: Called with the report so far, in the caller's thread.
    """

    chunking: Chunking
    verify: bool = False
    progress: IndexProgress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What the writers of one collection share.

    Args:
        lock: The collection's lock.
        remover: Deletes points.
        notes: Records what filled the collection.
    """

    lock: CollectionLock
    remover: Remover
    notes: FillingNotes


def ingest(target: Target, documents: Iterable[Document], ways: Ways, hands: Hands) -> IndexReport:
    """Make the collection hold exactly these documents; see :meth:`Collection.index`."""
    check_series(documents, _CALL, Document, _DOCUMENTS)
    started = time.perf_counter()
    lock = hands.lock
    with (
        store_span(target.store, target.name, "index") as span,
        lock.indexing,
        lock.turn.held(target.store, target.name),
        lock.claims() as claims,
    ):
        report = _Run(target, ways, hands, claims).index(_Census(documents))
        end_deferral(target.store, target.name, lock)
        span.set(prefixed(report.counts))
    seconds = round(time.perf_counter() - started, 3)
    log_event("index", {"collection": target.name, **report.counts, "seconds": seconds})
    return report


class _Run:
    """One indexing run."""

    def __init__(self, target: Target, ways: Ways, hands: Hands, claims: Claims) -> None:
        self._target = target
        self._ways = ways
        self._hands = hands
        self._claims = claims
        self._planner = Planner(target, ways.chunking, claims, verify=ways.verify)
        self._tally = Tally()

    def index(self, census: _Census) -> IndexReport:
        tally, remover = self._tally, self._hands.remover
        store, name = self._target.store, self._target.name
        stale = self._write(_groups(census), self._hands.lock.writing, self._report_progress)
        self._settle(stale)
        for gone in census.vanished(store, name):
            tally.add(IndexReport(removed=len(gone), deleted=remover.documents(gone)))
        self._reconcile(census)
        problems = census.unreadable
        tally.add(IndexReport(unreadable=len(problems), problems=problems, skipped=census.skipped))
        store.flush(name)
        self._report_progress()
        return tally.total

    def _write(
        self,
        groups: Iterable[list[Document]],
        guard: AbstractContextManager[object],
        report_progress: Callable[[], None],
    ) -> list[Document]:
        """Index groups of documents; return the documents that others changed meanwhile."""
        to = Destination(
            store=self._target.store,
            name=self._target.name,
            claims=self._claims,
            guard=guard,
            embedded=self._hands.notes.embedded,
        )
        writer = Writer(to, self._tally)
        with Pipeline(self._target, writer, self._tally, report_progress) as pipeline:
            for group in groups:
                plans = self._planner.plan(group)
                self._tally.add(IndexReport(unchanged=plans.unchanged))
                for plan in plans.plans:
                    pipeline.put(plan)
                report_progress()
            pipeline.finish()
        return writer.stale

    def _settle(self, stale: list[Document]) -> None:
        """Index documents again that others changed meanwhile, now under the lock.

        The lock is held for one group at a time, so that others need not wait for all of them.
        """
        for _ in range(_ATTEMPTS):
            left: list[Document] = []
            for group in _groups(stale, first=_SETTLED, most=_SETTLED):
                # This thread holds the lock, and the writing thread works for it. Progress is not
                # reported meanwhile: a callback may delete, and the lock would let
                # this thread in.
                with self._hands.lock.writing:
                    left += self._write([group], nullcontext(), _report_nothing)
                self._report_progress()
            if not left:
                return
            stale = left
        raise StoreError(
            f"chunks of {len(stale)} documents, {stale[0].source!r} first, were deleted by others "
            f"{_ATTEMPTS} times while they were indexed; only one process at a time may write to "
            f"the collection {self._target.name!r}: index again when the other one is done"
        )

    def _reconcile(self, census: _Census) -> None:
        """Compare the number of chunks in the roots with the numbers in the markers."""
        store, name, lock = self._target.store, self._target.name, self._hands.lock
        if not census.roots:
            return
        inside = FieldIn(Field.ROOT, sorted(census.roots))
        chunks = And([CHUNKS, inside])
        if not self._ways.verify and store.count(name, chunks) == census.promised:
            return
        checker, is_spared = Checker(store, name, lock), census.spared()
        for finding in checker.orphans(chunks):
            key = DocumentKey(root=finding.root or "", source=finding.source)
            if not is_spared(key):
                self._tally.add(IndexReport(deleted=self._hands.remover.documents([key])))
        for finding in checker.damaged(inside):
            key = DocumentKey(root=finding.root or "", source=finding.source)
            with lock.changing([key]):
                self._hands.remover.reopen([key])
            self._tally.add(IndexReport(damaged=1))

    def _report_progress(self) -> None:
        if self._ways.progress is not None:
            self._ways.progress(self._tally.total)


def _report_nothing() -> None:
    """Do nothing."""


class _Census:
    """Passes documents through and remembers their keys."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents = documents
        self._seen: set[bytes] = set()
        self.roots: set[str] = set()
        self.promised = 0
        self._nothing: NothingReadable | None = None

    def __iter__(self) -> Iterator[Document]:
        for document in self._read():
            identity = _short(document.key.marker_id)
            if identity in self._seen:
                raise TextError(
                    f"document {document.source!r} of root {document.root!r} appears twice in one "
                    "run, and only one can be stored; give it once, or use two roots"
                )
            self._seen.add(identity)
            if document.root is not None:
                self.roots.add(document.root)
            yield document

    def _read(self) -> Iterator[Document]:
        """Read the documents; a folder may hold none only if some of it are stored."""
        try:
            for place, document in enumerate(self._documents):
                yield checked_item(document, Document, place, _CALL, _DOCUMENTS)
        except NothingReadable as error:
            if not isinstance(self._documents, Documents):
                raise  # documents after this folder would be left out silently
            self._nothing = error
            self.roots.add(error.root)

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """The files that could not be read, if the documents come from files."""
        return self._documents.unreadable if isinstance(self._documents, Documents) else ()

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was skipped, if the documents come from files."""
        return self._documents.skipped if isinstance(self._documents, Documents) else ()

    def vanished(self, store: Store, name: str) -> Iterator[list[DocumentKey]]:
        """Yield the stored documents that vanished from the roots of this run.

        The numbers of chunks in the markers of the other documents are added up on the way.

        Raises:
            TextError: A folder holds no readable text, and nothing is stored of it either.
        """
        if not self.roots:
            return
        is_spared = self.spared()
        where = And([DOCUMENTS, FieldIn(Field.ROOT, sorted(self.roots))])
        for page in each(store, name, where, _PROMISE):
            self._nothing = None
            gone: list[DocumentKey] = []
            for point in page:
                if _short(point.id) in self._seen or is_spared(DocumentKey.of(point.payload)):
                    self.promised += int(str(point.payload["chunks"]))
                else:
                    gone.append(DocumentKey.of(point.payload))
            if gone:
                yield gone
        if self._nothing is not None:
            raise self._nothing

    def spared(self) -> Callable[[DocumentKey], bool]:
        """Return a function: whether a document must stay because it could not be read."""
        files = {bad.source for bad in self.unreadable}
        # "/" is the root itself, and everything in it begins with "".
        folders = tuple(source.removeprefix("/") for source in files if source.endswith("/"))
        return lambda key: key.source in files or key.source.startswith(folders)


def _short(point_id: str) -> bytes:
    """Return a UUID as sixteen bytes, which take less memory than a string."""
    return bytes.fromhex(point_id.replace("-", ""))


def _groups(
    documents: Iterable[Document], *, first: int = _FIRST_GROUP, most: int = _GROUP
) -> Iterator[list[Document]]:
    """Cut documents into groups, each twice as large as the last one until they have ``most``."""
    wanted = first
    group: list[Document] = []
    characters = 0
    for document in documents:
        group.append(document)
        characters += len(document.text)
        if len(group) >= wanted or characters >= _GROUP_CHARACTERS:
            yield group
            group, characters, wanted = [], 0, min(most, 2 * wanted)
    if group:
        yield group
