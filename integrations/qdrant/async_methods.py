"""The methods of a collection as coroutines, which never block the event loop.

Each one runs its synchronous twin in a thread of decant's own (``threads.py``). A coroutine that is
cancelled stops its twin before the next request to a server; in a folder only indexing stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from .threads import run_in_thread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from decant.embedders import Vectors

    from .indexing.check import CheckReport
    from .indexing.chunking import Chunking
    from .indexing.documents import Document
    from .indexing.report import IndexProgress, IndexReport
    from .points.passages import Hit, Passage, Record
    from .stores.filters import Where
    from .stores.queries import SearchMode


class _Collection(Protocol):
    """The synchronous methods that the coroutines run."""

    def index(
        self,
        documents: Iterable[Document],
        *,
        chunking: Chunking | None = None,
        progress: IndexProgress | None = None,
        verify: bool = False,
    ) -> IndexReport: ...

    def add(
        self, records: Sequence[Record], *, vectors: Vectors | NDArray[np.float32] | None = None
    ) -> list[str]: ...

    def get(self, ids: Sequence[str], *, with_vectors: bool = False) -> list[Passage]: ...

    def soft_tokens(self, passages: Sequence[str | Passage]) -> NDArray[np.float32]: ...

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
        with_vectors: bool = False,
        mode: SearchMode | None = None,
    ) -> list[Hit]: ...

    def search_vector(
        self,
        vector: Vectors | NDArray[np.float32],
        *,
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
        with_vectors: bool = False,
        mode: SearchMode | None = None,
    ) -> list[Hit]: ...

    def delete(self, ids: Sequence[str]) -> int: ...

    def delete_where(self, where: Where) -> int: ...

    def delete_source(self, source: str, *, root: str | None = None) -> int: ...

    def clear(self) -> None: ...

    def count(self, where: Where | None = None) -> int: ...

    def check(self, *, most_findings: int = 100) -> CheckReport: ...


class AsyncMethods:
    """Coroutines for a collection; each does what the method without the ``a`` does."""

    async def aindex(
        self: _Collection,
        documents: Iterable[Document],
        *,
        chunking: Chunking | None = None,
        progress: IndexProgress | None = None,
        verify: bool = False,
    ) -> IndexReport:
        """Index documents; both they and ``progress`` are used in a worker thread."""
        return await run_in_thread(
            self.index, documents, chunking=chunking, progress=progress, verify=verify
        )

    async def aadd(
        self: _Collection,
        records: Sequence[Record],
        *,
        vectors: Vectors | NDArray[np.float32] | None = None,
    ) -> list[str]:
        """Store records and return their ids."""
        return await run_in_thread(self.add, records, vectors=vectors)

    async def aget(
        self: _Collection, ids: Sequence[str], *, with_vectors: bool = False
    ) -> list[Passage]:
        """Return the records and chunks with these ids."""
        return await run_in_thread(self.get, ids, with_vectors=with_vectors)

    async def astates(self: _Collection, passages: Sequence[str | Passage]) -> NDArray[np.float32]:
        """Return the states of appended tokens that are kept."""
        return await run_in_thread(self.soft_tokens, passages)

    async def asearch(
        self: _Collection,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
        with_vectors: bool = False,
        mode: SearchMode | None = None,
    ) -> list[Hit]:
        """Return the passages that fit a query best, best first."""
        return await run_in_thread(
            self.search,
            query,
            limit=limit,
            offset=offset,
            where=where,
            with_vectors=with_vectors,
            mode=mode,
        )

    async def asearch_vector(
        self: _Collection,
        vector: Vectors | NDArray[np.float32],
        *,
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
        with_vectors: bool = False,
        mode: SearchMode | None = None,
    ) -> list[Hit]:
        """Return the passages nearest to a query that was embedded already, best first."""
        return await run_in_thread(
            self.search_vector,
            vector,
            limit=limit,
            offset=offset,
            where=where,
            with_vectors=with_vectors,
            mode=mode,
        )

    async def adelete(self: _Collection, ids: Sequence[str]) -> int:
        """Delete records and chunks by id."""
        return await run_in_thread(self.delete, ids)

    async def adelete_where(self: _Collection, where: Where) -> int:
        """Delete the records and chunks that match."""
        return await run_in_thread(self.delete_where, where)

    async def adelete_source(self: _Collection, source: str, *, root: str | None = None) -> int:
        """Delete what came from a source."""
        return await run_in_thread(self.delete_source, source, root=root)

    async def aclear(self: _Collection) -> None:
        """Delete everything in the collection."""
        await run_in_thread(self.clear)

    async def acount(self: _Collection, where: Where | None = None) -> int:
        """Return how many chunks and records there are, or match."""
        return await run_in_thread(self.count, where)

    async def acheck(self: _Collection, *, most_findings: int = 100) -> CheckReport:
        """Read all that the collection holds, and report what is wrong."""
        return await run_in_thread(self.check, most_findings=most_findings)
