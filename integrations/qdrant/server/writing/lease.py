"""The lease of a collection on a server: one process at a time indexes and deletes in it.

The lease is a note in the collection, and each tenant of a collection has one of its own, so that
tenants do not wait for each other. Its token changes with every renewal, and a process replaces
the note only if it holds the token that was read, by a filter of the request that stores it, so of
two processes one gets it. Who waits watches the token: if it has not changed for the time of
:attr:`LeaseTimes.lapse`, by the waiting process's own clock, the holder is taken to be dead. A
holder that could not renew the lease for that long writes no more. So no two clocks are compared.

Each holder has a run number, one more than the last holder's, from which the versions of its writes
follow (``fence.py``).
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from threading import Event, Lock, Thread
from typing import Any, Self

from qdrant_client import QdrantClient, models

from decant.embedders import StoreError

from ....stop import pause
from ...stores.changes import LEASE, Lease, Owner
from ...stores.filters import Field
from ...stores.point_ids import Kind
from .fence import STEPS

_log = logging.getLogger("decant")

_FREE = "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """How long a lease lasts, and how long another process waits for it.

    Args:
        lapse: Seconds without a renewal after which a lease is lost.
        renewal: Seconds between two renewals.
        longest_wait: Seconds after which a process that waits gives up.
        interval: Seconds between two looks of a process that waits.
        sleep: The function that waits.
        clock: The function that returns the time in seconds.
    """

    lapse: float = 30.0
    renewal: float = 8.0
    longest_wait: float = 600.0
    interval: float = 0.5
    sleep: Callable[[float], None] = pause
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseNote:
    """The note that states who may write.

    Args:
        run: The number of the run; each holder has a larger one.
        renewals: How often the holder renewed it.
        mark: What is random for each process; "free" if nobody holds the lease.
        holder: The holder's machine and process, for messages.
        since: When it took the lease, by its own clock, for messages.
    """

    run: int
    renewals: int = 0
    mark: str
    holder: str = ""
    since: str = ""

    @classmethod
    def after(cls, last: LeaseNote | None, mark: str) -> Self:
        """Return the note with which this process takes the lease."""
        return cls(
            run=1 if last is None else last.run + 1,
            mark=mark,
            holder=f"process {os.getpid()} on {socket.gethostname()}",
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    @property
    def token(self) -> str:
        """A text that no other state of the lease has."""
        return f"{self.run} {self.renewals} {self.mark}"

    @property
    def is_free(self) -> bool:
        """Whether nobody holds the lease."""
        return self.mark == _FREE

    def is_of(self, other: LeaseNote | None) -> bool:
        """Return whether both are of one holder's run."""
        return other is not None and (self.run, self.mark) == (other.run, other.mark)

    def struct(self, owner: Owner) -> models.PointStruct:
        """Return the point of the note of an owner."""
        payload = {
            **owner.payload,
            "kind": Kind.NOTE.value,
            "note": LEASE,
            # A field that every collection has indexed, so that strict mode lets it be filtered by.
            Field.SOURCE.value: self.token,
            "run": self.run,
            "renewals": self.renewals,
            "mark": self.mark,
            "holder": self.holder,
            "since": self.since,
        }
        return models.PointStruct(id=owner.lease_id, vector={}, payload=payload)

    @classmethod
    def read(cls, payload: dict[str, Any]) -> Self:
        """Read a payload that :meth:`struct` made."""
        return cls(
            run=int(payload["run"]),
            renewals=int(payload["renewals"]),
            mark=str(payload["mark"]),
            holder=str(payload["holder"]),
            since=str(payload["since"]),
        )


class LeaseNotes:
    """Reads and replaces the note of one collection, or of one tenant in it.

    Args:
        name: The collection.
        client: The client.
        ask: Sends a request, and repeats it if need be.
        owner: Whose the note is.
    """

    def __init__(
        self,
        name: str,
        client: QdrantClient,
        ask: Callable[[str, Callable[[], Any]], Any],
        owner: Owner | None = None,
    ) -> None:
        self.name = name
        self._client = client
        self._ask = ask
        self._owner = owner or Owner()

    def __str__(self) -> str:
        """Return what the lease is for, in messages: the collection, and the tenant."""
        tenant = self._owner.tenant
        return repr(self.name) if tenant is None else f"{self.name!r} of the tenant {tenant!r}"

    def read(self) -> LeaseNote | None:
        """Return the note; None if there is none yet."""
        ids = [self._owner.lease_id]
        request = partial(self._client.retrieve, self.name, ids, with_payload=True)
        records = self._ask(f"reading from {self.name!r}", request)
        return LeaseNote.read(records[0].payload) if records else None

    def swap(self, old: LeaseNote | None, new: LeaseNote) -> LeaseNote | None:
        """Replace the note if it is still ``old``, and return what it is then."""
        self.put(old, new)
        return self.read()

    def put(self, old: LeaseNote | None, new: LeaseNote) -> None:
        """Replace the note if it is still ``old``."""
        match = models.MatchValue(value="" if old is None else old.token)
        is_old = models.FieldCondition(key=Field.SOURCE.value, match=match)
        request = partial(
            self._client.upsert,
            self.name,
            [new.struct(self._owner)],
            update_filter=models.Filter(must=[is_old]),
            # All replicas get it in one order.
            ordering=models.WriteOrdering.STRONG,
        )
        self._ask(f"writing to {self.name!r}", request)


class RemoteLease(Lease):
    """A lease that this process holds; it is renewed in a thread until it is released.

    Args:
        notes: Reads and replaces the note.
        held: The note with which this process took it.
        times: How long it lasts.
        confirmed: When the request was sent that took it.
    """

    def __init__(
        self, notes: LeaseNotes, held: LeaseNote, times: LeaseTimes, confirmed: float
    ) -> None:
        self._notes = notes
        self._held = held
        self._times = times
        self._confirmed = confirmed
        self._step = 0
        self._is_lost = False
        self._process = os.getpid()
        self._ended = Event()
        self._counting = Lock()
        self._renewing = Lock()
        self._thread = Thread(target=self._keep, name="decant-lease", daemon=True)
        self._thread.start()

    @property
    def run(self) -> int:
        """The number of the run."""
        return self._held.run

    def stamp(self) -> int | None:
        """Return the version of the next write; None after the lease was released.

        Raises:
            StoreError: Another process has taken the lease, because this one did not renew it.
        """
        if self._ended.is_set() or os.getpid() != self._process:
            return None  # a forked child does not have its parent's lease
        if self._is_old():
            with self._renewing:
                if self._is_old():
                    self._renew()
        if self._is_lost or self._is_old():
            raise StoreError(
                f"this process held the right to write to {self._notes} and did not renew "
                f"it for {self._times.lapse:.0f} s, so another process may write now, and this run "
                "ends; nothing is lost: run it again"
            )
        with self._counting:
            self._step += 1
            if self._step >= STEPS:
                raise StoreError(f"one run made {STEPS} writes, the most; run it again to go on")
            return self.run * STEPS + self._step

    def release(self, error: BaseException | None = None) -> None:
        """Let others write; after an error of the store they wait until the lease lapses.

        A request that had no answer may still be under way then.
        """
        self._ended.set()
        if error is not None and (
            isinstance(error, StoreError) or not isinstance(error, Exception)
        ):
            return
        with self._renewing, suppress(StoreError):
            self._notes.put(self._held, replace(self._held, mark=_FREE, holder="", since=""))

    def _is_old(self) -> bool:
        return self._times.clock() - self._confirmed >= self._times.lapse

    def _keep(self) -> None:
        while not self._ended.wait(self._times.renewal):
            with self._renewing, suppress(StoreError):
                if not self._ended.is_set():
                    self._renew()

    def _renew(self) -> None:
        for _ in range(2):
            sent = self._times.clock()
            new = replace(self._held, renewals=self._held.renewals + 1)
            there = self._notes.swap(self._held, new)
            if there is None or not there.is_of(self._held):
                self._is_lost = True
                return
            self._held = there
            if there == new:
                self._confirmed = sent
                return
            # A renewal that had no answer was carried out: the next one goes on from it.


def take_lease(notes: LeaseNotes, mark: str, times: LeaseTimes) -> RemoteLease:
    """Wait until no other process holds the lease, and take it.

    Args:
        notes: Reads and replaces the note.
        mark: What is random for this process; a lease of it that was not released is taken at once.
        times: How long to wait.

    Raises:
        StoreError: Another process holds it all the time; the message says which, and since when.
    """
    began = seen_at = times.clock()
    seen: LeaseNote | None = None
    while True:
        note, now = notes.read(), times.clock()
        if note != seen:
            if seen is None and note is not None and not (note.is_free or note.mark == mark):
                _log.warning("waiting to write to %s: %s", notes, _holds(note))
            seen, seen_at = note, now
        is_dead = note is not None and now - seen_at >= times.lapse
        if note is None or note.is_free or note.mark == mark or is_dead:
            mine = LeaseNote.after(note, mark)
            sent = times.clock()
            if notes.swap(note, mine) == mine:
                return RemoteLease(notes, mine, times, sent)
            continue
        if now - began >= times.longest_wait:
            raise StoreError(
                f"{_holds(note)}, and {notes} was not free for {times.longest_wait:.0f} s; "
                "one process at a time indexes or deletes in a collection: wait for it, or end it"
            )
        times.sleep(times.interval)


def _holds(note: LeaseNote) -> str:
    return f"{note.holder} writes since {note.since}"
