"""Index documents: plan in the caller's thread, embed and write behind it, then drop what vanished.

Running it again after any interruption ends with exactly what an undisturbed run gives. Memory
grows only by some hundred bytes a document, which the search for vanished ones needs.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

from decant.embedders import TextError

from .chunking import Chunking
from .conditions import All, Field, FieldIn
from .documents import Document, Documents, NothingReadable
from .pipeline import Pipeline
from .plan import Planner
from .points import DOCUMENTS, DocumentKey
from .removal import Remover
from .report import IndexProgress, IndexReport, Tally
from .store import Fetch, each
from .target import Target
from .walking import Skipped, Unreadable
from .writer import Writer

_GROUP = 64
_GROUP_CHARACTERS = 4_000_000
_KEY = Fetch(fields=("root", "source"))


def ingest(
    target: Target,
    documents: Iterable[Document],
    chunking: Chunking,
    remover: Remover,
    progress: IndexProgress | None,
) -> IndexReport:
    """Make the collection hold exactly these documents' chunks; see :meth:`Collection.index`."""
    store, name = target.store, target.name
    planner = Planner(target, chunking)
    tally = Tally()
    census = _Census(documents, target)

    def tell() -> None:
        if progress is not None:
            progress(tally.total)

    with Pipeline(target, Writer(store, name, tally), tally, tell) as pipeline:
        for group in _groups(census):
            plans = planner.plan(group)
            tally.add(IndexReport(unchanged=plans.unchanged))
            for plan in plans.plans:
                pipeline.put(plan)
            tell()
        pipeline.finish()
    for gone in census.vanished():
        tally.add(IndexReport(removed=len(gone), deleted=remover.documents(gone)))
    problems = census.unreadable
    tally.add(IndexReport(unreadable=len(problems), problems=problems, skipped=census.skipped))
    store.flush(name)
    tell()
    return tally.total


class _Census:
    """Passes documents through and remembers which there were."""

    def __init__(self, documents: Iterable[Document], target: Target) -> None:
        self._documents = documents
        self._target = target
        self._seen: set[bytes] = set()
        self._roots: set[str] = set()

    def __iter__(self) -> Iterator[Document]:
        for document in self._read():
            identity = uuid.UUID(document.key.marker_id).bytes
            if identity in self._seen:
                raise TextError(
                    f"document {document.source!r} of root {document.root!r} comes twice in one "
                    "run, and only one can be stored; give it once, or use two roots"
                )
            self._seen.add(identity)
            if document.root is not None:
                self._roots.add(document.root)
            yield document

    def _read(self) -> Iterator[Document]:
        """Read the documents; a root that was emptied gives none, one that never held any fails."""
        try:
            yield from self._documents
        except NothingReadable:
            if not isinstance(self._documents, Documents):
                raise
            root = self._documents.root
            where = All([DOCUMENTS, FieldIn(Field.ROOT, [root])])
            if not self._target.store.count(self._target.name, where):
                raise
            self._roots.add(root)

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """What could not be read, if the documents come from files."""
        return self._documents.unreadable if isinstance(self._documents, Documents) else ()

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was passed over, if the documents come from files."""
        return self._documents.skipped if isinstance(self._documents, Documents) else ()

    def vanished(self) -> Iterator[list[DocumentKey]]:
        """Yield the stored documents of the roots seen that were not seen themselves."""
        files = {bad.source for bad in self.unreadable}
        if not self._roots or "/" in files:  # "/": the folder itself could not be listed
            return
        folders = tuple(source for source in files if source.endswith("/"))
        where = All([DOCUMENTS, FieldIn(Field.ROOT, sorted(self._roots))])
        for page in each(self._target.store, self._target.name, where, _KEY):
            gone = [
                DocumentKey.of(point.payload)
                for point in page
                if uuid.UUID(point.id).bytes not in self._seen
            ]
            gone = [
                key
                for key in gone
                if key.source not in files and not key.source.startswith(folders)
            ]
            if gone:
                yield gone


def _groups(documents: Iterable[Document]) -> Iterator[list[Document]]:
    group: list[Document] = []
    characters = 0
    for document in documents:
        group.append(document)
        characters += len(document.text)
        if len(group) >= _GROUP or characters >= _GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group
