"""Set payload fields on a server, and find out which points are not there.

A server stops a batch at the first point that is not there, and does the rest no more. Only then
is it asked which there are.
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
    """Replace payload fields in one request, or some where points are gone.

    Returns:
        The ids of points that are not there; the fields of the others are set.
    """
    if requests.is_local:
        # It would change the points before a missing one, and answer with an error of its own.
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
        # One that went only just now: each for itself, so that this ends.
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
    """Return the points that are there, and the ids of the others."""
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
