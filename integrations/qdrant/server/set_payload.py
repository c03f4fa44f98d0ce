"""Set payload fields on a server, and find the points that do not exist.

A server stops a batch at the first missing point and skips the rest. Only then is it asked which
points exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from decant.embedders import StoreError

from ..stores.protocol import Point
from .points import from_record, to_change
from .refusals import NOT_FOUND, Refusal
from .requests import Requests


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
