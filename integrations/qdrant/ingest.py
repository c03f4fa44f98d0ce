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
from .store import Fetch, Store, each
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
    census = _Census(documents)

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
    for gone in census.vanished(store, name):
        tally.add(IndexReport(removed=len(gone), deleted=remover.documents(gone)))
    problems = census.unreadable
    tally.add(IndexReport(unreadable=len(problems), problems=problems, skipped=census.skipped))
    store.flush(name)
    tell()
    return tally.total


class _Census:
    """Passes documents through and remembers which there were."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents = documents
        self._seen: set[bytes] = set()
        self._roots: set[str] = set()
        self._nothing: NothingReadable | None = None

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
        """Read the documents; whether a folder may hold none depends on what is stored of it."""
        try:
            yield from self._documents
        except NothingReadable as error:
            if not isinstance(self._documents, Documents):
                raise  # others that come behind this folder would be left out in silence
            self._nothing = error
            self._roots.add(error.root)

    @property
    def unreadable(self) -> tuple[Unreadable, ...]:
        """What could not be read, if the documents come from files."""
        return self._documents.unreadable if isinstance(self._documents, Documents) else ()

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was passed over, if the documents come from files."""
        return self._documents.skipped if isinstance(self._documents, Documents) else ()

    def vanished(self, store: Store, name: str) -> Iterator[list[DocumentKey]]:
        """Yield the stored documents of the roots seen that were not seen themselves.

        Raises:
            TextError: A folder holds no readable text, and nothing is stored of it either.
        """
        if not self._roots:
            return
        files = {bad.source for bad in self.unreadable}
        # "/" is the root itself, and everything in it begins with "".
        folders = tuple(source.removeprefix("/") for source in files if source.endswith("/"))
        where = All([DOCUMENTS, FieldIn(Field.ROOT, sorted(self._roots))])
        for page in each(store, name, where, _KEY):
            self._nothing = None
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
        if self._nothing is not None:
            raise self._nothing


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
