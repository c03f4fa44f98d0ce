"""Write to a server's collections: points, payload fields and deletions, alone and in order.

A request of several operations is carried out in order, up to the first that fails.
Points are stored and deleted in one request where the collection's limits allow it. Payload fields
are set in one, too; a server stops at the first missing point and skips the rest, and only then is
it asked which points exist.

Under a lease (``writing/lease.py``) each change has a version (``writing/fence.py``), and deletions
leave tombstones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple, TypeVar

from qdrant_client import models

from decant.embedders import StoreError

from ..stores.changes import Change, Lease, Owner, Upsert
from ..stores.point_size import REQUEST_BYTES, PointSizes
from ..stores.protocol import Point, slices
from .limits import Limits, most_ids, most_writes
from .point_form import OwnForm, Spelling
from .points import check_size, cut_writes, from_record, to_struct
from .refusals import NOT_FOUND, Refusal
from .requests import Requests
from .writing.fence import (
    TOMBSTONE_SINCE,
    TOMBSTONES_KEPT,
    VERSION,
    change_of,
    expired,
    older_than,
    tombstone,
    upsert_of,
    with_version,
)
from .writing.lease import LeaseNotes, LeaseTimes, RemoteLease, take_lease

T = TypeVar("T")

_ID_BYTES = 64  # of an id in a list, quotes and comma included


class RemoteWrites:
    """Writes to the collections of one server, under this process's leases where there are some.

    Args:
        requests: Sends the requests.
        spelling: Turns points into the client's.
        times: How long a lease lasts.
        owner: Whose the points are.
    """

    def __init__(
        self, requests: Requests, spelling: Spelling, times: LeaseTimes, owner: Owner
    ) -> None:
        self._requests = requests
        self._client = requests.client
        self._spelling = spelling
        self._forms = spelling.forms
        self._times, self._owner = times, owner
        self._leases: dict[str, RemoteLease] = {}
        self._purged: dict[str, float] = {}
        self._unversioned: set[str] = set()

    def lease(self, name: str, mark: str) -> RemoteLease | None:
        """Take the lease of a collection; see :meth:`LeasingStore.lease`.

        Local mode is of one process, and an adopted collection holds no notes, so they have none.
        """
        if self._requests.is_local or not isinstance(self._forms[name], OwnForm):
            return None
        notes = LeaseNotes(name, self._client, self._requests.ask, self._owner)
        lease = take_lease(notes, mark, self._times)
        try:
            self._prepare(name, is_first=lease.run == 1)
        except BaseException as error:
            lease.release(error)
            raise
        return lease

    def write_under(self, name: str, lease: Lease | None) -> None:
        """Give the writes to a collection the versions of a lease, until it ends."""
        if isinstance(lease, RemoteLease):
            self._leases[name] = lease

    def forget(self, name: str) -> None:
        """Forget what is known of a collection that was deleted."""
        self._leases.pop(name, None)
        self._purged.pop(name, None)
        self._unversioned.discard(name)

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Store points, in order; see :meth:`Store.upsert`."""
        if any(point.to_embed for point in points):
            self._requests.check_takes_texts()
        batches = self._batches(name, self._spelling.completed(name, points))

        def write() -> None:
            version = self._version(name) if batches else None

            def send(part: Sequence[Point]) -> None:
                self._store(name, [self._forms[name].struct(point) for point in part], version)

            for batch in batches:
                for _ in self._requests.in_parts(name, batch, most_writes, send):
                    pass

        self._with_index(name, write)

    def change_in_order(self, name: str, changes: Sequence[Change]) -> None:
        """Carry out changes that have no texts in place of vectors, in order."""
        complete, version = partial(self._spelling.completed, name), partial(self._version, name)
        send = partial(send_in_order, self._requests, name, changes, complete, version, self._owner)
        self._with_index(name, send)

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:
        """Replace the given payload fields of points; return the ids that do not exist."""
        batches = self._batches(name, points)

        def write() -> list[str]:
            version = self._version(name) if batches else None
            send = partial(set_together, self._requests, name, version=version)
            gone: list[str] = []
            for batch in batches:
                for missing in self._requests.in_parts(name, batch, most_writes, send):
                    gone += missing
            return list(dict.fromkeys(gone))

        return self._with_index(name, write)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are ignored."""
        self._with_index(name, lambda: self._delete(name, ids))

    def _delete(self, name: str, ids: Sequence[str]) -> None:
        version, now = self._version(name) if ids else None, int(time.time())

        def send(part: Sequence[str]) -> None:
            gone = self._forms[name].ids(part)
            if version is None:
                request = partial(self._client.delete, name, models.PointIdsList(points=gone))
                self._requests.ask(f"deleting from {name!r}", request)
            else:
                self._store(name, [tombstone(one, now, self._owner) for one in gone], version)

        most = most_ids if version is None else most_writes
        for _ in self._requests.in_parts(name, ids, most, send):
            pass

    def _store(self, name: str, structs: Sequence[models.PointStruct], version: int | None) -> None:
        condition = None
        if version is not None:
            structs = [with_version(struct, version) for struct in structs]
            condition = older_than(version)
        request = partial(self._client.upsert, name, list(structs), update_filter=condition)
        self._requests.ask(f"writing to {name!r}", request)

    def _version(self, name: str) -> int | None:
        lease = self._leases.get(name)
        version = None if lease is None else lease.stamp()
        return None if name in self._unversioned else version

    def _with_index(self, name: str, write: Callable[[], T]) -> T:
        """Return what ``write`` returns; it is called again if strict mode demands an index."""
        try:
            return write()
        except StoreError as error:
            cause = error.__cause__ if isinstance(error.__cause__, StoreError) else error
            missing = Refusal.of(cause).missing_index
            if (
                missing is None
                or missing[0] not in (VERSION, TOMBSTONE_SINCE)
                or name in self._unversioned
            ):
                raise
            self._make_indexes(name)
            return write()

    def _make_indexes(self, name: str) -> None:
        """Make the indexes that filters of versions need, or write without versions."""
        number = models.PayloadSchemaType.INTEGER
        try:
            for path in (VERSION, TOMBSTONE_SINCE):
                make = partial(self._client.create_payload_index, name, path, field_schema=number)
                self._requests.ask(f"indexing {path!r} in {name!r}", make)
        except StoreError as error:
            if not Refusal.of(error).has_too_many_indexes:
                raise
            self._unversioned.add(name)

    def _batches(self, name: str, points: Sequence[Point]) -> list[Sequence[Point]]:
        """Cut points into requests, before the first request is sent."""
        most = self._requests.limits(name).writes
        return cut_writes(points, most=most, largest=self._requests.largest)

    def _prepare(self, name: str, *, is_first: bool) -> None:
        """Make the indexes that strict mode demands; delete tombstones that are kept long enough.

        The first lease of a collection finds no tombstones.
        """
        now = time.time()
        if now - self._purged.get(name, 0) < TOMBSTONES_KEPT:
            return
        limits = self._requests.limits(name)
        if not limits.unindexed_updates and limits.more_indexes:
            self._make_indexes(name)
        elif not limits.unindexed_updates:
            self._unversioned.add(name)
        if not is_first and name not in self._unversioned:
            chosen = models.FilterSelector(filter=expired(now, self._owner))
            purge = partial(self._client.delete, name, chosen)
            self._with_index(name, lambda: self._requests.ask(f"deleting from {name!r}", purge))
        self._purged[name] = now


class _Item(NamedTuple):
    """A point to store, or the id of one to delete.

    Attributes:
        change: The place of its change among all.
        what: The point, or the id.
        size: A bound of its bytes in a request.
    """

    change: int
    what: Point | str
    size: int


def have_texts(changes: Sequence[Change]) -> bool:
    """Return whether points have texts in place of vectors, which go in small requests."""
    upserts = (change for change in changes if isinstance(change, Upsert))
    return any(point.to_embed for upsert in upserts for point in upsert.points)


def send_in_order(
    requests: Requests,
    name: str,
    changes: Sequence[Change],
    complete: Callable[[Sequence[Point]], Sequence[Point]],
    next_version: Callable[[], int | None],
    owner: Owner,
) -> None:
    """Carry out changes in order, in as few requests as the collection's limits allow.

    A request that is refused for a limit is cut and sent again, with those of its changes that the
    server has carried out before it refused the rest: they are the first ones, and the same again.

    Args:
        requests: Sends them.
        name: The collection.
        changes: The changes; no point has a text in place of a vector.
        complete: Returns points with the vectors that are made of others, and of their words.
        next_version: Returns the version of a change; None: it has none.
        owner: Whose the points are.

    Raises:
        StoreError: A single point is larger than a request may be; then nothing is changed.
    """
    sizes = PointSizes()
    versions = [next_version() for _ in changes]
    left: list[_Item] = []
    for place, change in enumerate(changes):
        if isinstance(change, Upsert):
            left += [_Item(place, it, sizes.of(it)) for it in complete(change.points)]
        else:
            left += [_Item(place, identity, _ID_BYTES) for identity in change.ids]
    if (largest := requests.largest) is not None:
        for item in left:
            if item.size > REQUEST_BYTES and isinstance(item.what, Point):
                check_size(item.what, largest)
    while left:
        count = _fitting(left, requests.limits(name))
        operations = list(_operations(left[:count], requests.limits(name), versions, owner))
        request = partial(requests.client.batch_update_points, name, operations)
        try:
            requests.ask(f"writing to {name!r}", request)
        except StoreError as error:
            requests.learn(name, error, sent=count)
            continue
        left = left[count:]


def _fitting(items: Sequence[_Item], limits: Limits) -> int:
    """Return how many of the first items one request may have; one at least."""
    total = 0
    for count, item in enumerate(items):
        total += item.size
        if count and (total > REQUEST_BYTES or count == limits.batch):
            return count
    return len(items)


def _operations(
    items: Sequence[_Item], limits: Limits, versions: Sequence[int | None], owner: Owner
) -> Iterator[models.UpdateOperation]:
    """Yield the operations of a request.

    No operation has points of two changes: a server of several shards or nodes orders operations,
    and not the points of one.
    """
    now = int(time.time())
    for change, group in groupby(items, lambda item: item.change):
        these, version = [item.what for item in group], versions[change]
        points = [item for item in these if isinstance(item, Point)]
        for part in slices(points, limits.writes):
            yield upsert_of([to_struct(point) for point in part], version)
        ids: list[models.ExtendedPointId] = [item for item in these if isinstance(item, str)]
        if version is None:
            for some in slices(ids, limits.ids):
                yield models.DeleteOperation(delete=models.PointIdsList(points=list(some)))
        else:
            for some in slices(ids, limits.writes):
                yield upsert_of([tombstone(identity, now, owner) for identity in some], version)


def set_together(
    requests: Requests, name: str, points: Sequence[Point], *, version: int | None
) -> list[str]:
    """Replace payload fields in one request, or in several if points are missing.

    With a version the server passes over missing points, and is then asked which these are.

    Returns:
        The ids of missing points; the fields of the others are set.
    """
    if version is not None:
        _send(requests, name, points, version)
        return _divided(requests, name, points)[1]
    if requests.is_local:
        # Local mode would change the points before a missing one, and raise an error of its own.
        there, gone = _divided(requests, name, points)
        if there:
            _send(requests, name, there)
        return gone
    try:
        _send(requests, name, points)
    except StoreError as error:
        if Refusal.of(error).status != NOT_FOUND:
            raise
        there, gone = _divided(requests, name, points)  # fails too if the collection is gone
        if len(points) == 1:
            return [point.id for point in points]
        # A point vanished just now: each point gets its own request, so that this ends.
        parts = [there] if gone else [[point] for point in there]
        return gone + [
            id_
            for part in parts
            if part
            for id_ in set_together(requests, name, part, version=None)
        ]
    return []


def _send(
    requests: Requests, name: str, points: Sequence[Point], version: int | None = None
) -> None:
    changes = [change_of(point, version) for point in points]
    request = partial(requests.client.batch_update_points, name, changes)
    requests.ask(f"writing to {name!r}", request)


def _divided(
    requests: Requests, name: str, points: Sequence[Point]
) -> tuple[list[Point], list[str]]:
    """Return the points that exist, and the ids of the others."""
    request = partial(requests.client.retrieve, name, with_payload=[TOMBSTONE_SINCE])
    found = requests.in_parts(
        name,
        [point.id for point in points],
        lambda limits: limits.ids,
        lambda ids: requests.ask(f"reading from {name!r}", partial(request, list(ids))),
    )
    held = {from_record(record).id for part in found for record in part if not record.payload}
    gone = [point.id for point in points if point.id not in held]
    return [point for point in points if point.id in held], gone
