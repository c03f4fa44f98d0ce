"""The turn of this process to write to a collection that several processes fill.

All threads of a process share one turn for each collection, however many objects they use: the
first writer takes the store's lease (:class:`LeasingStore`), and the last one releases it. Within
the process the locks of ``locks.py`` keep them apart. A store without leases lets everyone write.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from ..stores.changes import Lease, LeasingStore
from ..stores.protocol import Store


class Turn:
    """The turn of this process at one collection.

    Args:
        mark: What is random for this process and the collection's store.
    """

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._mutex = Lock()
        self._writers = 0
        self._lease: Lease | None = None

    @contextmanager
    def held(self, store: Store, name: str) -> Iterator[None]:
        """Hold the turn in the block; a writer within another one does not wait.

        Args:
            store: The store that writes in the block.
            name: The collection's name there.

        Raises:
            StoreError: Another process writes to it for too long.
        """
        if not isinstance(store, LeasingStore):
            yield
            return
        with self._mutex:
            if self._writers == 0:
                self._lease = store.lease(name, self._mark)
            self._writers += 1
            store.write_under(name, self._lease)
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._leave(error)

    def renew(self, mark: str) -> None:
        """Forget the lease, which belongs to the parent of this forked child."""
        self._mark = mark
        self._mutex = Lock()
        self._writers = 0
        self._lease = None

    def _leave(self, error: BaseException | None) -> None:
        with self._mutex:
            self._writers -= 1
            if self._writers == 0 and self._lease is not None:
                lease, self._lease = self._lease, None
                lease.release(error)
