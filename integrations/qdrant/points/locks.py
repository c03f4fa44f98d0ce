"""Keep those who write to one collection in this process apart, whatever objects they come through.

Indexing runs take turns, however long they are. What changes points takes a second lock, first come
first served, which a run holds for one batch at a time; so who deletes waits for a batch, not for a
run. A run works on documents between two batches, so it claims them, and whoever changes one
meanwhile makes the claim stale: the run then writes nothing more of what it had planned for it, and
plans it again. Invariant: while nobody holds the second lock, a claim that is not stale rests on no
state of the store that somebody else's change has replaced.

Several processes are not kept apart here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, get_ident
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from decant.embedders.forks import renew_after_fork

from ..stores.point_ids import DocumentKey
from ..stores.protocol import Store


class FairLock:
    """A lock that is given to those who wait in the order in which they came.

    Its owner may take it again; it is free when it was released as often. Use it in a ``with``
    block.
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
        """Hand it to the one who has waited longest."""
        with self._mutex:
            self._depth -= 1
            if self._depth == 0:
                self._hand_over()

    @property
    def waiting(self) -> int:
        """How many threads wait for it."""
        return len(self._waiting)

    def renew(self) -> None:
        """Let go of the other threads, which a forked child does not have."""
        self._mutex = Lock()
        self._waiting.clear()
        if self._owner != get_ident():
            self._owner, self._depth = None, 0

    def _hand_over(self) -> None:
        # The next owner is entered here, so that nobody who comes now can be faster.
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
            else:  # it was handed over just now
                self._depth = 0
                self._hand_over()


@dataclass(slots=True, eq=False)
class Claim:
    """A run's plan for a document is under way.

    Args:
        is_stale: Whether somebody else has changed the document since the run looked at it.
    """

    is_stale: bool = False


class CollectionLock:
    """What the writers of one collection in this process share; see :func:`lock_of`.

    Attributes:
        indexing: Held by an indexing run from its beginning to its end.
        writing: Held while points change, and not while a run embeds texts; only documents that
            others have changed while they were under way are embedded again under it.
        noting: Held while a note (``filling.py``) is looked for and written.
        noted: The notes that are known to be stored.
    """

    def __init__(self) -> None:
        self.indexing = FairLock()
        self.writing = FairLock()
        self.noting = Lock()
        self.noted: set[str] = set()
        self._mutex = Lock()
        self._runs: list[dict[DocumentKey, Claim]] = []
        renew_after_fork(self)

    def renew(self) -> None:
        """Be free of the other threads, which a forked child does not have."""
        self.indexing.renew()
        self.writing.renew()
        self.noting = Lock()
        self._mutex = Lock()
        self._runs = []

    @contextmanager
    def changing(self, keys: Iterable[DocumentKey] | None) -> Iterator[None]:
        """Hold ``writing`` while documents change, and make claims on them stale at the end.

        Args:
            keys: Which documents; None for all.
        """
        with self.writing:
            try:
                yield
            finally:
                # At the end: a run that has looked in between has seen half of the change.
                self._invalidate(keys)

    def is_claimed(self, key: DocumentKey) -> bool:
        """Return whether a run has this document under way."""
        with self._mutex:
            return any(key in run for run in self._runs)

    @contextmanager
    def claims(self) -> Iterator[Claims]:
        """Give a run what to claim documents with; all claims end with the block."""
        run: dict[DocumentKey, Claim] = {}
        with self._mutex:
            self._runs.append(run)
        try:
            yield Claims(self, run, self._mutex)
        finally:
            with self._mutex:
                self._runs = [other for other in self._runs if other is not run]

    def others(self, run: Mapping[DocumentKey, Claim], keys: Iterable[DocumentKey]) -> bool:
        """Return whether another run has one of these documents under way."""
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
    """The documents that one indexing run has under way; see :meth:`CollectionLock.claims`."""

    def __init__(self, lock: CollectionLock, run: dict[DocumentKey, Claim], mutex: Lock) -> None:
        self.lock = lock
        self._run = run
        self._mutex = mutex

    def take(self, keys: Collection[DocumentKey]) -> dict[DocumentKey, Claim]:
        """Claim documents, before looking at what is stored of them."""
        if self.lock.others(self._run, keys):
            # Only where a run is started from within another, by its documents or its progress.
            with self.lock.changing(keys):
                pass
        made = {key: Claim() for key in keys}
        with self._mutex:
            self._run.update(made)
        return made

    def release(self, keys: Iterable[DocumentKey]) -> None:
        """Give documents back that are done, or need nothing."""
        with self._mutex:
            for key in keys:
                self._run.pop(key, None)


class _Register:
    """The locks of this process."""

    def __init__(self) -> None:
        self.locks: WeakValueDictionary[Hashable, CollectionLock] = WeakValueDictionary()
        self.looking = Lock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make the lock anew that another thread may have held at a fork."""
        self.looking = Lock()


_register = _Register()


def lock_of(store: Store, name: str, mark: str) -> CollectionLock:
    """Return the one lock of a collection in this process.

    It is the same for all stores whose :attr:`Store.identity` is, for as long as somebody keeps
    it. In a forked child it is free of the threads of the parent.

    Args:
        store: What holds the collection.
        name: The collection, or an alias. What is made anew under a name has the lock of what was
            there before, since those who have that open write to the new one.
        mark: Of the collection's card. It is the same under all its names, and so is the lock.
    """
    keys = [(store.engine, store.identity, kind) for kind in (("mark", mark), ("name", name))]
    with _register.looking:
        known = (_register.locks.get(key) for key in keys)
        lock = next((lock for lock in known if lock is not None), None) or CollectionLock()
        for key in keys:
            _register.locks[key] = lock
        return lock
