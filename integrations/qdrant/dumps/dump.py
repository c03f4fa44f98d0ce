"""Write a collection into one file, as it was at one moment, in memory that does not grow.

Within this process writers wait. Whether others wrote meanwhile is seen by reading all payloads
once more: then the dump is begun again, and after some attempts refused. Invariant: a file appears
when it is whole and the collection did not change while it was written.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeAlias

from decant.embedders import StoreError
from decant.embedders.distribution import decant_version
from decant.embedders.log_events import log_event

from ..late.token_vectors import READ_NUMBERS
from ..operations.store_span import store_span
from ..points.locks import lock_of
from ..points.payloads import DOCUMENTS, PASSAGES
from ..stores.aliases import FoundCollection
from ..stores.changes import LEASE
from ..stores.collection_metadata import CollectionMetadata
from ..stores.filters import Field, FieldIn, Not
from ..stores.input_errors import StoreInputError, TenantError, check_name
from ..stores.point_ids import Kind
from ..stores.protocol import Point, Select, Store, each
from ..tenants.tenant_store import TenantStore
from ..tenants.unbound_store import UnboundStore
from .archive import DumpWriter
from .header import DumpHeader, IndexedPath
from .stored_settings import read_average_length, read_graph_settings

DumpProgress: TypeAlias = Callable[[int, int], object]
"""Called with the number of points done, and of all points."""

DUMPED = FieldIn(Field.KIND, (Kind.CHUNK, Kind.RECORD, Kind.DOCUMENT, Kind.NOTE))
"""What a dump holds; tombstones and points of other programs are left out."""

_TOMBSTONES = FieldIn(Field.KIND, (Kind.TOMBSTONE,))
_PAGE = 512
_BLOCK_POINTS = 4_096
_BLOCK_BYTES = 16 * 2**20
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpReport:
    """A dump that was written.

    Args:
        file: Where it is.
        bytes: Its size.
        sha256: The SHA-256 of the file, as ``sha256sum`` shows it.
        points: How many points it holds.
        documents: How many documents.
        passages: How many chunks and records.
        left_out: How many points of other programs lie in the collection and not in the dump.
    """

    file: str
    bytes: int
    sha256: str
    points: int
    documents: int
    passages: int
    left_out: int = 0


def dump(
    store: Store,
    name: str,
    file: str | Path,
    *,
    overwrite: bool = False,
    progress: DumpProgress | None = None,
) -> DumpReport:
    """Write a collection with its metadata, settings, points and vectors into one file.

    No encoder is needed. :func:`restore` makes the collection of it again, in a folder or on a
    server; ``docs/operations.md`` has what holds while others write. The file holds the texts, and
    with tenants the key of their ids, so only its owner may read it.

    Args:
        store: What :func:`connect` returned; it may be read-only.
        name: The collection, or an alias.
        file: The file; it appears when it is whole.
        overwrite: Whether to replace a file.
        progress: Called with the number of points done and of all points.

    Raises:
        StoreInputError: There is such a file or no such collection, or another program made it.
        TenantError: ``store`` is that of one tenant.
        StoreError: Others changed the collection at each attempt, or the store or the disk failed.
    """
    check_name(name)
    path = Path(file)
    if path.exists() and not overwrite:
        raise StoreInputError(
            f"there is a file {path} already; give another name, or overwrite=True (--overwrite)"
        )
    check_whole_store(store, name)
    found = store.find(name)
    if found.card.payload_layout is not None:
        raise StoreInputError(
            f"{name!r} in {store.place} was adopted from another program, whose points stay as "
            "they are; back it up with that program's means, or with `decant snapshot`"
        )
    lock = lock_of(store, found.name, found.card.mark)
    with (
        store_span(store, found.name, "dump") as span,
        lock.indexing,
        lock.writing,
        appearing(path) as stream,
    ):
        report = _Dump(store, found, path).write(stream, progress)
        span.set({"decant.points": report.points})
    log_event("dump", {"collection": found.name, "points": report.points, "bytes": report.bytes})
    return report


class _Dump:
    def __init__(self, store: Store, found: FoundCollection, path: Path) -> None:
        self._store = store
        self._name = found.name
        self._card = found.card
        self._path = path

    def write(self, stream: BinaryIO, progress: DumpProgress | None) -> DumpReport:
        for _ in range(_ATTEMPTS):
            stream.seek(0)
            stream.truncate()
            if (report := self._attempt(stream, progress)) is not None:
                return report
        raise StoreError(
            f"the collection {self._name!r} in {self._store.place} changed while it was dumped, "
            f"{_ATTEMPTS} times, so no dump was kept; end what writes to it meanwhile, or take a "
            "snapshot of the server (`decant snapshot`), which needs no such pause"
        )

    def _attempt(self, stream: BinaryIO, progress: DumpProgress | None) -> DumpReport | None:
        """Write the dump; None if the collection changed meanwhile."""
        store, name, card = self._store, self._name, self._card
        header = _header(store, name)
        total = store.count(name, DUMPED)
        writer, seen = DumpWriter(stream), _Fingerprint()
        block: list[Point] = []
        size = 0
        fetch = Select(
            dense=True,
            sparse=card.sparse,
            soft_tokens=card.soft_tokens is not None,
            token_vectors=card.token_vectors is not None,
        )
        for page in self._pages(fetch, _page_size(card)):
            for point in page:
                block.append(point)
                size += seen.add(point) + _vector_bytes(point)
                if len(block) >= _BLOCK_POINTS or size >= _BLOCK_BYTES:
                    writer.add(block)
                    block, size = [], 0
            if progress is not None:
                progress(min(seen.points, total - 1), total)
        if block:
            writer.add(block)
        if progress is not None:
            progress(seen.points, seen.points)
        again = _Fingerprint()
        for page in self._pages(Select(), _PAGE):
            for point in page:
                again.add(point)
        if again.digest != seen.digest:
            return None
        header = replace(
            header,
            points=seen.points,
            documents=store.count(name, DOCUMENTS),
            passages=store.count(name, PASSAGES),
            blocks=writer.blocks,
        )
        sha256, length = writer.end(header, card)
        left_out = store.count(name, Not(DUMPED)) - store.count(name, _TOMBSTONES)
        return DumpReport(
            file=str(self._path),
            bytes=length,
            sha256=sha256,
            points=header.points,
            documents=header.documents,
            passages=header.passages,
            left_out=left_out,
        )

    def _pages(self, fetch: Select, size: int) -> Iterator[list[Point]]:
        for page in each(self._store, self._name, DUMPED, fetch, page=size):
            yield [point for point in page if point.payload.get("note") != LEASE]


class _Fingerprint:
    """A hash of the ids and payloads of all points, in their order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.points = 0

    def add(self, point: Point) -> int:
        """Add a point, and return how many bytes its payload has."""
        said = json.dumps([point.id, point.payload], sort_keys=True).encode()
        self._hash.update(said)
        self.points += 1
        return len(said)

    @property
    def digest(self) -> bytes:
        return self._hash.digest()


def _page_size(card: CollectionMetadata) -> int:
    """Return how many points are read at a time with their vectors."""
    tokens = card.token_vectors
    return _PAGE if tokens is None else tokens.bounded(_PAGE, READ_NUMBERS)


def _vector_bytes(point: Point) -> int:
    size = 0 if point.dense is None else point.dense.nbytes
    size += 0 if point.soft_tokens is None else point.soft_tokens.nbytes
    size += 0 if point.token_vectors is None else point.token_vectors.nbytes
    return size if point.sparse is None else size + 3 * point.sparse.values.nbytes


def _header(store: Store, name: str) -> DumpHeader:
    graph = read_graph_settings(store, name)
    card = store.card(name)
    return DumpHeader(
        made_by=decant_version(),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        name=name,
        engine=store.engine.value,
        layout=store.layout(name),
        hnsw_m=graph.links_of(card),
        hnsw_ef_construct=graph.ef_construct,
        indexed=tuple(
            IndexedPath(path=one.path, type=one.type) for one in store.aliases.indexed(name)
        ),
        average_length=read_average_length(store, name),
    )


def check_whole_store(store: Store, name: str) -> None:
    """Refuse the store of one tenant.

    Raises:
        TenantError: It is one.
    """
    if isinstance(store, TenantStore | UnboundStore):
        raise TenantError(
            f"a dump holds what all tenants have in {name!r}; give the store that connect() "
            "returned, not that of a tenant"
        )


@contextmanager
def appearing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that gets its name at the end, and is deleted after an error."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".part", dir=path.parent)
        part = Path(name)
        try:
            with os.fdopen(handle, "w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}; free some space, or "
            "give another place"
        ) from error
