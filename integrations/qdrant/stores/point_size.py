"""Estimate how many bytes a point takes in a request, without serialising it.

Invariant: the estimate is never below the JSON that qdrant-client writes, and for large points not
much above it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .protocol import Json, Point

# A float32 as a double has up to 17 digits, a sign, a point, an exponent, and a comma behind it.
_NUMBER = 26
_SPARSE_ENTRY = _NUMBER + 11  # an entry also has an index of up to ten digits
_CHARACTER = 6  # a control character as \u0007; no other character takes more in UTF-8
_AROUND = 6  # quotes, a colon and a comma
_EMPTY = 2  # brackets
_SHORT = 4_096  # characters; longer texts are encoded, which takes a microsecond for each thousand

_FEW = 32  # entries
_LONGEST = 10**24  # a whole number of 25 digits

_POINT = 200  # braces, names of vectors, the id, the operation

REQUEST_BYTES = 16 * 2**20
"""How large a request may become; a server accepts twice that."""


class PointSizes:
    """Upper bounds of the sizes of points.

    Metadata that several points share, such as the chunks of a document, are measured once.
    """

    def __init__(self) -> None:
        self._shared: dict[int, int] = {}

    def of(self, point: Point) -> int:
        """Return a bound for one point."""
        payload = point.payload
        size = _POINT + _AROUND * len(payload) + _CHARACTER * len("".join(payload))
        for value in payload.values():
            if isinstance(value, str):
                length = len(value)
                # ASCII, which is never shorter than UTF-8 and is written faster.
                size += _CHARACTER * length if length <= _SHORT else len(json.dumps(value))
            elif isinstance(value, dict | list):
                size += self._size_of_shared(value) if value else _EMPTY
            else:
                size += _NUMBER
        rows = (point.dense, point.prefix, point.soft_tokens, point.token_vectors)
        size += sum(_NUMBER * one.size for one in rows if one is not None)
        if point.sparse is not None:
            size += _SPARSE_ENTRY * point.sparse.indices.size
        if point.words is not None:
            size += _SPARSE_ENTRY * point.words.indices.size
        for one in point.to_embed:
            size += _POINT + len(json.dumps(one.text))
        return size

    def _size_of_shared(self, value: dict[str, Json] | list[Json]) -> int:
        if (length := self._shared.get(id(value), 0)) == 0:
            bound = _bound_of_scalars(value) if isinstance(value, dict) else None
            length = len(json.dumps(value)) if bound is None else bound
            self._shared[id(value)] = length
        return length


def _bound_of_scalars(value: dict[str, Json]) -> int | None:
    """Return a bound for a few short entries, as most metadata are; None for all others.

    It takes a fifth of the time that encoding takes.
    """
    if len(value) > _FEW:
        return None
    size = _EMPTY
    for key, held in value.items():
        size += _AROUND + _CHARACTER * len(key)
        if isinstance(held, str):
            if len(held) > _SHORT:
                return None
            size += _CHARACTER * len(held)
        elif isinstance(held, dict | list) or (isinstance(held, int) and abs(held) > _LONGEST):
            return None
        else:
            size += _NUMBER
    return size


def cut_points(points: Sequence[Point], *, most: int, largest: int) -> list[Sequence[Point]]:
    """Cut points into parts of at most ``most`` points and at most ``largest`` bytes.

    A single point may be larger, and then is a part of its own.
    """
    sizes = PointSizes()
    parts: list[Sequence[Point]] = []
    start = total = 0
    for index, point in enumerate(points):
        size = sizes.of(point)
        if index > start and (index - start == most or total + size > largest):
            parts.append(points[start:index])
            start, total = index, 0
        total += size
    if start < len(points):
        parts.append(points[start:])
    return parts


def batches(points: Sequence[Point], size: int) -> Iterator[Sequence[Point]]:
    """Cut points into parts of at most ``size`` points that fit into one request.

    Servers refuse requests beyond 32 MiB. Sizes of points are bounded from above; a single point
    that is larger is a part of its own.
    """
    yield from cut_points(points, most=size, largest=REQUEST_BYTES)
