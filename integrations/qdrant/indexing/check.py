"""Compare the contents of a collection with its markers; nothing is changed here.

Everything is read in pages, so memory does not grow with the collection. A suspected flaw is
checked again under the collection's lock, so that writers of this process cause no finding, and
documents that one of their runs is indexing are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from decant.embedders.tokens import is_unseen

from ..late.token_vectors import READ_NUMBERS, StoredTokenVectors
from ..points.flaws import Finding, Flaw, find_flaw
from ..points.locks import CollectionLock, lock_of
from ..points.payloads import CHUNKS, DOCUMENTS, MARKER, ChunkSum, Marker, State
from ..stores.changes import DeferringStore
from ..stores.filters import And, Field, FieldIn, Where
from ..stores.point_ids import DocumentKey, Kind
from ..stores.protocol import Point, Select, Store, each, each_with, slices
from ..stores.queries import TokensQuery
from ..tenants.unbound_store import check_tenant_chosen

_PAGE = 256
_RECORDS = FieldIn(Field.KIND, (Kind.RECORD,))
_OWNER = Select(fields=("root", "source"))
_PLACE = Select(fields=("id", "root", "source", "chunk", "start"))
_CONTENT = Select(
    fields=("id", "root", "source", "chunk", "start", "text", "text_sha256"), dense=True
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """The contents of a collection, and the flaws in them.

    Args:
        documents: How many documents have a marker.
        chunks: How many chunks these documents have.
        records: How many records there are.
        missing: Chunks that markers count and the store lacks.
        surplus: Chunks beyond the number in their markers.
        replaced: Documents with the right number of chunks, some of which are not those written.
        interrupted: Documents whose marker is open; indexing them again completes them.
        orphaned: Chunks of documents without a marker.
        altered: Chunks and records whose text has another hash than was stored with it.
        unsearchable: Chunks and records without a dense vector, or whose vector is not finite or
            zeros alone, or whose prefix is not that of it.
        incomplete: Chunks and records without token vectors, in a collection that keeps them. Those
            of records may be missing because the caller who gave their vectors gave none.
        findings: The first flaws, one by one.
        missing_indexes: The paths of payload indexes that the collection should have and the server
            lacks. This is no flaw of what is stored, but filters are slower, or refused in strict
            mode.
        is_index_deferred: Whether a bulk load has turned the vector index off, which is no flaw
            either; the next one, ``optimize`` or ``index`` turns it on.
    """

    documents: int
    chunks: int
    records: int
    missing: int = 0
    surplus: int = 0
    replaced: int = 0
    interrupted: int = 0
    orphaned: int = 0
    altered: int = 0
    unsearchable: int = 0
    incomplete: int = 0
    findings: tuple[Finding, ...] = ()
    missing_indexes: tuple[str, ...] = ()
    is_index_deferred: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether there is no flaw in what is stored."""
        return not self.findings


def check_collection(store: Store, name: str, *, most_findings: int = 100) -> CheckReport:
    """Read a whole collection and report its flaws; this needs no encoder.

    The chunks of each document are compared with what was written, by number, id and place, each
    text with its hash; vectors must be there, finite and not zeros alone, and token vectors must be
    there if the collection keeps them. That a vector or metadata are the right ones is not seen.
    Documents that a run of this process has under way are left out. What is wrong is put right by
    ``Collection.index(…, verify=True)``, and in records by adding them again; chunks of no document
    also by :meth:`Collection.delete_source`.

    Raises:
        TenantError: The collection has tenants, and ``store`` is not that of one.
        StoreError: There is no such collection, or the store failed.
    """
    found = store.find(name)
    name = found.name
    check_tenant_chosen(store, name, found.card, "checking")
    lock = lock_of(store, name, found.card.mark)
    card = found.card
    checker = Checker(store, name, lock, has_prefix=bool(card.prefix), tokens=card.token_vectors)
    counts: Counter[Flaw] = Counter()
    findings: list[Finding] = []
    for finding in checker.everything():
        counts[finding.flaw] += _weight(finding)
        if len(findings) < max(most_findings, 1):
            findings.append(finding)
    return CheckReport(
        documents=checker.documents_seen,
        chunks=checker.chunks_seen,
        records=checker.records_seen,
        missing=counts[Flaw.MISSING],
        surplus=counts[Flaw.SURPLUS],
        replaced=counts[Flaw.REPLACED],
        interrupted=counts[Flaw.INTERRUPTED],
        orphaned=counts[Flaw.ORPHANED],
        altered=counts[Flaw.ALTERED],
        unsearchable=counts[Flaw.UNSEARCHABLE],
        incomplete=counts[Flaw.INCOMPLETE],
        findings=tuple(findings),
        missing_indexes=tuple(store.missing_indexes(name)),
        is_index_deferred=isinstance(store, DeferringStore) and store.is_deferred(name),
    )


def _weight(finding: Finding) -> int:
    """Return by how much a finding raises its count: by its chunks if those are counted, else 1."""
    match finding.flaw:
        case Flaw.MISSING | Flaw.SURPLUS:
            return abs(finding.expected - finding.found)
        case Flaw.ORPHANED:
            return finding.found
        case _:
            return 1


class Checker:
    """Finds the flaws of one collection.

    Args:
        store: The store that holds it.
        name: The collection's name.
        lock: The collection's lock.
        has_prefix: Whether the collection has prefixes, which are examined then.
        tokens: What the collection keeps of token vectors, which are missed then; None: nothing.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        lock: CollectionLock,
        *,
        has_prefix: bool = False,
        tokens: StoredTokenVectors | None = None,
    ) -> None:
        self._store = store
        self._name = name
        self._lock = lock
        self._has_prefix = has_prefix
        self._tokens = tokens
        self._content = replace(_CONTENT, prefix=has_prefix)
        self.documents_seen = 0
        self.chunks_seen = 0
        self.records_seen = 0

    def everything(self) -> Iterator[Finding]:
        """Yield all flaws, those of texts and vectors included."""
        for page in each(self._store, self._name, DOCUMENTS, MARKER, page=_PAGE):
            markers = [Marker.read(point.payload) for point in page]
            yield from self._documents(markers, self._content)
        for page in each(self._store, self._name, _RECORDS, self._content, page=_PAGE):
            self.records_seen += len(page)
            yield from self._flaws(page)
        if self._store.count(self._name, CHUNKS) != self.chunks_seen:
            yield from self.orphans(CHUNKS)

    def damaged(self, where: Where) -> Iterator[Finding]:
        """Yield the matching documents that are closed and whose chunks are not those written."""
        for page in each(self._store, self._name, And([DOCUMENTS, where]), MARKER, page=_PAGE):
            markers = [Marker.read(point.payload) for point in page]
            closed = [marker for marker in markers if marker.state is State.DONE]
            yield from self._documents(closed, _PLACE)

    def orphans(self, where: Where) -> Iterator[Finding]:
        """Yield the matching chunks without a marker, one finding for each document and page."""
        for page in each(self._store, self._name, where, _OWNER):
            if suspects := self._ownerless(page):
                with self._lock.writing:
                    there = self._store.retrieve(self._name, [p.id for p in suspects], _OWNER)
                    suspects = self._ownerless(there)
            found = Counter(DocumentKey.of(point.payload) for point in suspects)
            for key, chunks in sorted(found.items()):
                yield _finding(Flaw.ORPHANED, key, found=chunks)

    def _ownerless(self, chunks: Sequence[Point]) -> list[Point]:
        owners = {DocumentKey.of(point.payload): point for point in chunks}
        ids = [key.marker_id for key in owners]
        marked = {point.id for point in self._store.retrieve(self._name, ids, Select(fields=()))}
        return [point for point in chunks if DocumentKey.of(point.payload).marker_id not in marked]

    def _documents(self, markers: Sequence[Marker], fetch: Select) -> Iterator[Finding]:
        if not markers:
            return
        self.documents_seen += len(markers)
        sums: dict[DocumentKey, ChunkSum] = {marker.key: ChunkSum() for marker in markers}
        for page in self._chunks(markers, fetch):
            own = [point for point in page if DocumentKey.of(point.payload) in sums]
            for point in own:
                sums[DocumentKey.of(point.payload)].add(point.payload)
            self.chunks_seen += len(own)
            if fetch is self._content:
                yield from self._flaws(own)
        suspects = [marker for marker in markers if _compare(marker, sums[marker.key])]
        if suspects:
            with self._lock.writing:
                findings = self._again(suspects)
            yield from findings

    def _again(self, suspects: Sequence[Marker]) -> list[Finding]:
        """Check documents again while no other thread of this process writes."""
        ids = [marker.key.marker_id for marker in suspects]
        held = self._store.retrieve(self._name, ids, MARKER)
        markers = [Marker.read(point.payload) for point in held]
        markers = [marker for marker in markers if not self._lock.is_claimed(marker.key)]
        sums: dict[DocumentKey, ChunkSum] = {marker.key: ChunkSum() for marker in markers}
        for page in self._chunks(markers, _PLACE) if markers else ():
            for point in page:
                if (found := sums.get(DocumentKey.of(point.payload))) is not None:
                    found.add(point.payload)
        compared = (_compare(marker, sums[marker.key]) for marker in sorted(markers, key=_key))
        return [finding for finding in compared if finding is not None]

    def _chunks(self, markers: Sequence[Marker], fetch: Select) -> Iterator[list[Point]]:
        sources = sorted({marker.key.source for marker in markers})
        roots = sorted({marker.key.root for marker in markers})
        few = len(roots) <= self._store.list_limit(self._name)
        within = And([CHUNKS, FieldIn(Field.ROOT, roots)]) if few else CHUNKS
        return each_with(self._store, self._name, within, fetch, sources=sources, page=_PAGE)

    def _flaws(self, points: Sequence[Point]) -> Iterator[Finding]:
        whole: list[Point] = []
        for point in points:
            if (flaw := find_flaw(point, has_prefix=self._has_prefix)) is not None:
                yield _of_passage(flaw, point)
            elif not is_unseen(str(point.payload["text"])):
                whole.append(point)
        if self._tokens is not None:
            lacking = self._without_tokens([point.id for point in whole], self._tokens)
            yield from (_of_passage(Flaw.INCOMPLETE, one) for one in whole if one.id in lacking)

    def _without_tokens(self, ids: Sequence[str], tokens: StoredTokenVectors) -> set[str]:
        """Return the ids of the points without token vectors.

        The engine is asked which points it can compare with a token, because to read all token
        vectors takes some hundred times as long.
        """
        if not ids:
            return set()
        token = np.eye(1, tokens.dim, dtype=np.float32)
        query = TokensQuery(vectors=token, ids=tuple(ids))
        (compared,) = self._store.rank(self._name, [query], limit=len(ids))
        suspects = sorted({*ids} - {identity for identity, _ in compared})
        lacking: set[str] = set()
        fetch = Select(fields=(), token_vectors=True)
        for part in slices(suspects, tokens.bounded(_PAGE, READ_NUMBERS)):
            with self._lock.writing:  # a writer may have deleted some meanwhile
                there = self._store.retrieve(self._name, part, fetch)
            lacking |= {point.id for point in there if point.token_vectors is None}
        return lacking


def _key(marker: Marker) -> DocumentKey:
    return marker.key


def _compare(marker: Marker, found: ChunkSum) -> Finding | None:
    """Return how a document's chunks differ from its marker."""
    if marker.state is not State.DONE:
        return _finding(Flaw.INTERRUPTED, marker.key, found=found.chunks)
    if found.chunks != marker.chunks:
        flaw = Flaw.MISSING if found.chunks < marker.chunks else Flaw.SURPLUS
        return _finding(flaw, marker.key, expected=marker.chunks, found=found.chunks)
    if marker.checksum not in (found.checksum, ""):  # markers of an older decant have none
        return _finding(Flaw.REPLACED, marker.key, expected=marker.chunks, found=found.chunks)
    return None


def _finding(flaw: Flaw, key: DocumentKey, *, expected: int = 0, found: int = 0) -> Finding:
    return Finding(
        flaw=flaw, root=key.root or None, source=key.source, expected=expected, found=found
    )


def _of_passage(flaw: Flaw, point: Point) -> Finding:
    key = DocumentKey.of(point.payload)
    identity = str(point.payload["id"])
    return Finding(flaw=flaw, root=key.root or None, source=key.source, id=identity)
