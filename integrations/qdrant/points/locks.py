"""Locks for all writers to one collection in this process, whatever objects they use.

Indexing runs take turns, however long they are. Every change of points takes a second lock, first
come first served, which a run holds for one batch at a time; so a deletion waits for a batch, not
for a run. A run works on documents between two batches, so it claims them. A writer that changes a
claimed document makes the claim stale: the run then writes no more of its plan for the document,
and plans it again. Invariant: while the second lock is free, a claim that is not stale depends on
no state of the store that another writer has replaced.

These locks do not work between processes; on a server these take turns (``turns.py``).
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, get_ident
from types import TracebackType
from typing import Self
from uuid import uuid4
from weakref import WeakValueDictionary

from decant.embedders.forks import renew_after_fork

from ..stores.point_ids import DocumentKey
from ..stores.protocol import Store
from .turns import Turn


class FairLock:
    """A reentrant lock that waiting threads get in the order in which they came.

    Use it in a ``with`` block.
    """

    def __init__(self) -> None:
        self._mutex = Lock()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[int, Lock]] = deque()

    def __enter__(self) -> Self:
        """Wait until it is this thread's turn."""
        thread = get_ident()
        with self._mutex:
            if self._owner in (None, thread):
                self._owner = thread
                self._depth += 1
                return self
            gate = Lock()
            gate.acquire()
            waiter = (thread, gate)
            self._waiting.append(waiter)
        try:
            gate.acquire()
        except BaseException:  # Ctrl-C
            self._leave(waiter)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release it to the thread that has waited longest."""
        with self._mutex:
            self._depth -= 1
            if self._depth == 0:
                self._hand_over()

    @property
    def waiting(self) -> int:
        """The number of threads that wait for it."""
        return len(self._waiting)

    def renew(self) -> None:
        """Forget the other threads, which a forked child does not have."""
        self._mutex = Lock()
        self._waiting.clear()
        if self._owner != get_ident():
            self._owner, self._depth = None, 0

    def _hand_over(self) -> None:
        # The next owner is set here, so that no thread that comes now can overtake it.
        if self._waiting:
            self._owner, gate = self._waiting.popleft()
            self._depth = 1
            gate.release()
        else:
            self._owner = None

    def _leave(self, waiter: tuple[int, Lock]) -> None:
        with self._mutex:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            else:  # the lock was passed to this thread just now
                self._depth = 0
                self._hand_over()


@dataclass(slots=True, eq=False)
class Claim:
    """The claim of a run on a document that it is indexing.

    Args:
        is_stale: Whether another writer has changed the document since the run read it.
    """

    is_stale: bool = False


class CollectionLock:
    """What the writers of one collection in this process share; see :func:`lock_of`.

    Attributes:
        indexing: Held by an indexing run from its beginning to its end.
        writing: Held while points change, and not while a run embeds texts; only documents that
            others changed meanwhile are embedded again under it.
        noting: Held while a note (``provenance.py``) is looked up and written.
        noted: The notes that are known to be stored.
        turn: Held, as the first lock, while this process indexes or deletes.
    """

    def __init__(self, where: Hashable = None) -> None:
        self._where = where
        self.indexing = FairLock()
        self.writing = FairLock()
        self.noting = Lock()
        self.noted: set[str] = set()
        self._mutex = Lock()
        self._runs: list[dict[DocumentKey, Claim]] = []
        self._loads = 0
        self.turn = Turn(_mark_of(where))
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget the other threads and their claims, which a forked child does not have."""
        self.indexing.renew()
        self.writing.renew()
        self.noting = Lock()
        self._mutex = Lock()
        self._runs = []
        self._loads = 0
        self.turn.renew(_mark_of(self._where))

    @contextmanager
    def changing(self, keys: Iterable[DocumentKey] | None) -> Iterator[None]:
        """Hold ``writing`` while documents change, and make claims on them stale at the end.

        Args:
            keys: The documents; None means all.
        """
        with self.writing:
            try:
                yield
            finally:
                # At the end, because a run that read in between saw only half of the change.
                self._invalidate(keys)

    @contextmanager
    def bulk_load(self) -> Iterator[Callable[[], bool]]:
        """Count a load in the block; yield a function that says whether no other is under way."""
        with self._mutex:
            self._loads += 1
        try:
            yield lambda: self._loads == 1
        finally:
            with self._mutex:
                self._loads -= 1

    @property
    def is_bulk_loading(self) -> bool:
        """Whether a load is under way in this process."""
        return self._loads > 0

    def is_claimed(self, key: DocumentKey) -> bool:
        """Return whether a run has claimed this document."""
        with self._mutex:
            return any(key in run for run in self._runs)

    @contextmanager
    def claims(self) -> Iterator[Claims]:
        """Yield an object with which a run claims documents; all claims end with the block."""
        run: dict[DocumentKey, Claim] = {}
        with self._mutex:
            self._runs.append(run)
        try:
            yield Claims(self, run, self._mutex)
        finally:
            with self._mutex:
                self._runs = [other for other in self._runs if other is not run]

    def others(self, run: Mapping[DocumentKey, Claim], keys: Iterable[DocumentKey]) -> bool:
        """Return whether another run has claimed one of these documents."""
        with self._mutex:
            rest = [other for other in self._runs if other is not run]
            return bool(rest) and any(key in other for key in keys for other in rest)

    def _invalidate(self, keys: Iterable[DocumentKey] | None) -> None:
        with self._mutex:
            for run in self._runs:
                for key in list(run) if keys is None else keys:
                    if key in run:
                        run[key].is_stale = True


class Claims:
    """The claims of one indexing run; see :meth:`CollectionLock.claims`."""

    def __init__(self, lock: CollectionLock, run: dict[DocumentKey, Claim], mutex: Lock) -> None:
        self.lock = lock
        self._run = run
        self._mutex = mutex

    def take(self, keys: Collection[DocumentKey]) -> dict[DocumentKey, Claim]:
        """Claim documents, before reading their stored state."""
        if self.lock.others(self._run, keys):
            # Only if a run is started within another one, by its documents or its progress
            # callback.
            with self.lock.changing(keys):
                pass
        made = {key: Claim() for key in keys}
        with self._mutex:
            self._run.update(made)
        return made

    def release(self, keys: Iterable[DocumentKey]) -> None:
        """Release documents that are done, or need no change."""
        with self._mutex:
            for key in keys:
                self._run.pop(key, None)


class _Register:
    """The locks of this process."""

    def __init__(self) -> None:
        self.process = uuid4().hex
        self.locks: WeakValueDictionary[Hashable, CollectionLock] = WeakValueDictionary()
        self.looking = Lock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make a new lock, because another thread may have held the old one at the fork."""
        self.looking = Lock()


_register = _Register()


def _mark_of(where: Hashable) -> str:
    """Return what is the same for all writers of this process at one store, and for no others.

    A process that has two connections by different addresses does not see that they lead to one
    server, so it keeps its writers apart as those of two processes. A forked child has the
    register of its parent, and another number.
    """
    parts = f"{_register.process} {os.getpid()} {where!r}"
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def lock_of(store: Store, name: str, mark: str) -> CollectionLock:
    """Return the one lock of a collection in this process.

    All stores with the same :attr:`Store.identity` share it, as long as one of them keeps it. In a
    forked child it is free of the threads of the parent.

    Args:
        store: The store that holds the collection.
        name: The collection's name, or an alias. A collection that is created again under a name
            gets the lock of its predecessor, because objects that have that one open write to the
            new one.
        mark: The mark in the collection's metadata. It is the same under all names of the
            collection, and so is the lock.
    """
    keys = [(store.engine, store.identity, kind) for kind in (("mark", mark), ("name", name))]
    with _register.looking:
        known = (_register.locks.get(key) for key in keys)
        lock = next((lock for lock in known if lock is not None), None)
        lock = lock or CollectionLock((store.engine, store.identity))
        for key in keys:
            _register.locks[key] = lock
        return lock
