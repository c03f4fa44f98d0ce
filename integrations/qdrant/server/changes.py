"""Requests of several operations, which a server carries out in order, up to the first that fails.

Points are stored and deleted in one request where the collection's limits allow it. Payload fields
are set in one, too; a server stops at the first missing point and skips the rest, and only then is
it asked which points exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import NamedTuple

from qdrant_client import models

from decant.embedders import StoreError

from ..stores.changes import Change, Upsert
from ..stores.point_size import REQUEST_BYTES, PointSizes
from ..stores.protocol import Point, slices
from .limits import Limits
from .points import check_size, from_record, to_change, to_struct
from .refusals import NOT_FOUND, Refusal
from .requests import Requests

_ID_BYTES = 64  # of an id in a list, quotes and comma included


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
    with_words: Callable[[Sequence[Point]], Sequence[Point]],
) -> None:
    """Carry out changes in order, in as few requests as the collection's limits allow.

    A request that is refused for a limit is cut and sent again, with those of its changes that the
    server has carried out before it refused the rest: they are the first ones, and the same again.

    Args:
        requests: Sends them.
        name: The collection.
        changes: The changes; no point has a text in place of a vector.
        with_words: Returns points with the vectors of their words, if the collection has any.

    Raises:
        StoreError: A single point is larger than a request may be; then nothing is changed.
    """
    sizes = PointSizes()
    left: list[_Item] = []
    for place, change in enumerate(changes):
        if isinstance(change, Upsert):
            left += [_Item(place, it, sizes.of(it)) for it in with_words(change.points)]
        else:
            left += [_Item(place, identity, _ID_BYTES) for identity in change.ids]
    if (largest := requests.largest) is not None:
        for item in left:
            if item.size > REQUEST_BYTES and isinstance(item.what, Point):
                check_size(item.what, largest)
    while left:
        count = _fitting(left, requests.limits(name))
        operations = list(_operations(left[:count], requests.limits(name)))
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


def _operations(items: Sequence[_Item], limits: Limits) -> Iterator[models.UpdateOperation]:
    """Yield the operations of a request.

    No operation has points of two changes: a server of several shards or nodes orders operations,
    and not the points of one.
    """
    for _, group in groupby(items, lambda item: item.change):
        these = [item.what for item in group]
        points = [item for item in these if isinstance(item, Point)]
        for part in slices(points, limits.writes):
            structs = models.PointsList(points=[to_struct(point) for point in part])
            yield models.UpsertOperation(upsert=structs)
        ids: list[models.ExtendedPointId] = [item for item in these if isinstance(item, str)]
        for some in slices(ids, limits.ids):
            yield models.DeleteOperation(delete=models.PointIdsList(points=list(some)))


def set_together(requests: Requests, name: str, points: Sequence[Point]) -> list[str]:
    """Replace payload fields in one request, or in several if points are missing.

    Returns:
        The ids of missing points; the fields of the others are set.
    """
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
        return gone + [id_ for part in parts if part for id_ in set_together(requests, name, part)]
    return []


def _send(requests: Requests, name: str, points: Sequence[Point]) -> None:
    changes = [to_change(point) for point in points]
    request = partial(requests.client.batch_update_points, name, changes)
    requests.ask(f"writing to {name!r}", request)


def _divided(
    requests: Requests, name: str, points: Sequence[Point]
) -> tuple[list[Point], list[str]]:
    """Return the points that exist, and the ids of the others."""
    request = partial(requests.client.retrieve, name, with_payload=False)
    found = requests.in_parts(
        name,
        [point.id for point in points],
        lambda limits: limits.ids,
        lambda ids: requests.ask(f"reading from {name!r}", partial(request, list(ids))),
    )
    held = {from_record(record).id for part in found for record in part}
    gone = [point.id for point in points if point.id not in held]
    return [point for point in points if point.id in held], gone
