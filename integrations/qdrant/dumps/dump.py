"""Write a collection into one file, as it was at one moment, in memory that does not grow.

Within this process writers wait. Whether others wrote meanwhile is seen by reading all payloads
once more: then the dump is begun again, and after some attempts refused. Invariant: a file appears
when it is whole and the collection did not change while it was written.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from decant.embedders import StoreError
from decant.embedders.distribution import decant_version
from decant.embedders.log_events import log_event

from ..operations.store_span import store_span
from ..points.locks import lock_of
from ..points.payloads import DOCUMENTS, PASSAGES
from ..stores.aliases import FoundCollection
from ..stores.collection_metadata import CollectionMetadata
from ..stores.filters import Field, FieldIn, Not
from ..stores.input_errors import StoreInputError, check_name
from ..stores.point_ids import Kind
from ..stores.protocol import Store
from ..tenants.tenant_store import TenantStore
from .adopted import AdoptedContents, read_stored
from .archive import DumpWriter
from .contents import DUMPED, Contents, OwnContents
from .fill import DumpProgress
from .header import ADOPTED_FORMAT, OWN_FORMAT, DumpHeader, IndexedPath
from .one_tenant import alone, check_has_points, tenant_view
from .stored_settings import read_average_length, read_graph_settings

_TOMBSTONES = FieldIn(Field.KIND, (Kind.TOMBSTONE,))
_BLOCK_POINTS = 4_096
_BLOCK_BYTES = 16 * 2**20
_ATTEMPTS = 3

T = TypeVar("T")


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
    tenant: str | None = None,
    overwrite: bool = False,
    progress: DumpProgress | None = None,
) -> DumpReport:
    """Write a collection with its metadata, settings, points and vectors into one file.

    No encoder is needed. :func:`restore` makes the collection of it again, in a folder or on a
    server; ``docs/backup.md`` has what holds while others write. The file holds the texts, and
    with all tenants the key of their ids, so only its owner may read it. Of an adopted collection
    it holds every point to the letter, and how its server keeps it.

    Args:
        store: What :func:`connect` returned; it may be read-only.
        name: The collection, or an alias.
        file: The file; it appears when it is whole.
        tenant: The tenant whose points alone are dumped, as those of a collection without tenants;
            None: those of all.
        overwrite: Whether to replace a file.
        progress: Called with the number of points done and of all points.

    Raises:
        StoreInputError: There is such a file or no such collection, the tenant has no points, or
            the points of an adopted collection lie in shards with keys of its program's.
        TenantError: ``store`` is that of a tenant, or one is named and the collection has none.
        StoreError: Others changed the collection at each attempt, or the store or the disk failed.
    """
    check_name(name)
    path = Path(file)
    if path.exists() and not overwrite:
        raise StoreInputError(
            f"there is a file {path} already; give another name, or overwrite=True (--overwrite)"
        )
    view = tenant_view(store, name, tenant)
    found = store.find(name) if view is None else view.find(name)
    if view is not None:
        check_has_points(view, store, found.name)
    lock = lock_of(view or store, found.name, found.card.mark)
    with (
        store_span(store, found.name, "dump") as span,
        lock.indexing,
        lock.writing,
        appearing(path) as stream,
    ):
        # Each by itself, because the points of both are of different types.
        if found.card.payload_layout is None:
            own = OwnContents(view or store, found.name, found.card)
            report = _Dump(store, view, found, own).write(stream, progress)
        else:
            raw = AdoptedContents(store, found.name)
            report = _Dump(store, view, found, raw).write(stream, progress)
        span.set({"decant.points": report.points})
    log_event("dump", {"collection": found.name, "points": report.points, "bytes": report.bytes})
    return replace(report, file=str(path))


class _Dump(Generic[T]):
    """Writes a dump.

    Args:
        store: The store of the collection.
        view: That of the tenant whose points alone are dumped.
        found: The collection.
        contents: Its points.
    """

    def __init__(
        self,
        store: Store,
        view: TenantStore | None,
        found: FoundCollection,
        contents: Contents[T],
    ) -> None:
        self._store = store
        self._view = view
        self._name = found.name
        self._card = found.card
        self._contents = contents

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
        store, name, contents = self._view or self._store, self._name, self._contents
        card = self._card
        header = _header(self._store, name, card)
        stored = read_stored(self._store, name) if header.is_adopted else None
        total = store.count(name, DUMPED)
        writer, seen = DumpWriter(stream), _Fingerprint()
        block: list[T] = []
        size = 0
        for page in contents.pages():
            for point in page:
                block.append(point)
                size += seen.add(contents.fingerprint(point)) + contents.vector_bytes(point)
                if len(block) >= _BLOCK_POINTS or size >= _BLOCK_BYTES:
                    contents.write(writer, block)
                    block, size = [], 0
            if progress is not None:
                progress(min(seen.points, total - 1), total)
        if block:
            contents.write(writer, block)
        if progress is not None:
            progress(seen.points, seen.points)
        again = _Fingerprint()
        for page in contents.pages_again():
            for point in page:
                again.add(contents.fingerprint(point))
        if again.digest != seen.digest:
            return None
        header = replace(
            header,
            points=seen.points,
            documents=store.count(name, DOCUMENTS),
            passages=store.count(name, PASSAGES),
            blocks=writer.blocks,
        )
        kept = card if self._view is None else alone(card)
        sha256, length = writer.end(header, kept, stored)
        left_out = store.count(name, Not(DUMPED)) - store.count(name, _TOMBSTONES)
        return DumpReport(
            file="",
            bytes=length,
            sha256=sha256,
            points=header.points,
            documents=header.documents,
            passages=header.passages,
            left_out=left_out,
        )


class _Fingerprint:
    """A hash of what stands for all points, in their order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.points = 0

    def add(self, said: bytes) -> int:
        """Add what stands for a point, and return how many bytes that has."""
        self._hash.update(said)
        self.points += 1
        return len(said)

    @property
    def digest(self) -> bytes:
        return self._hash.digest()


def _header(store: Store, name: str, card: CollectionMetadata) -> DumpHeader:
    graph = read_graph_settings(store, name)
    is_adopted = card.payload_layout is not None
    return DumpHeader(
        format=ADOPTED_FORMAT if is_adopted else OWN_FORMAT,
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
