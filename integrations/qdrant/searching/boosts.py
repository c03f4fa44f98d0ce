"""How much boosts raise the score of a passage: arithmetic over its metadata.

Invariant: a score with its boosts is finite, because NaN and infinity have no place in an order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeGuard, assert_never

from ..stores.filters import Key, path_of
from ..stores.input_errors import StoreInputError
from ..stores.protocol import Json, Payload
from ..stores.range_bounds import as_moment
from .options import Boost, Recency


def boost_fields(boosts: Sequence[Recency | Boost]) -> list[str]:
    """Return the paths of the payload that boosts read."""
    return [path_of(boost.key) for boost in boosts]


def settle(boosts: Sequence[Recency | Boost]) -> list[Recency | Boost]:
    """Return boosts whose ages all count from one moment, this one where none was given."""
    now = datetime.now(UTC)
    return [
        replace(boost, at=now) if isinstance(boost, Recency) and boost.at is None else boost
        for boost in boosts
    ]


def boosted(score: float, payload: Payload, boosts: Sequence[Recency | Boost]) -> float:
    """Return a score with the shares of its boosts: ``s + abs(s) * sum(shares)``.

    Args:
        score: That of the ranking or the fusion.
        payload: The entries that :func:`boost_fields` names.
        boosts: As :func:`settle` returns them.

    Raises:
        StoreError: The result is too large for a float.

    >>> boosted(0.5, {"metadata": {"stars": 2}}, [Boost("stars", weight=0.1)])
    0.6
    """
    shares = [_share(boost, entry_of(payload, boost.key)) for boost in boosts]
    found = score + abs(score) * sum(shares)
    if not math.isfinite(found):
        raise _overflow(boosts, shares, payload)
    return found


def _overflow(
    boosts: Sequence[Recency | Boost], shares: Sequence[float], payload: Payload
) -> StoreInputError:
    boost, share = max(zip(boosts, shares, strict=True), key=lambda pair: abs(pair[1]))
    return StoreInputError(
        f"boosts make a score too large for a float: the weight {boost.weight!r} and the metadata "
        f"entry {boost.key!r} of a passage, {entry_of(payload, boost.key)!r}, add the share "
        f"{share!r}; give a smaller weight"
    )


def entry_of(payload: Payload, key: Key) -> Json:
    """Return a metadata entry of a stored passage; None if it has none."""
    value: Json = payload.get("metadata")
    for name in (key,) if isinstance(key, str) else key:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _share(boost: Recency | Boost, value: Json) -> float:
    match boost:
        case Boost():
            return _product(boost.weight, value) if _is_number(value) else 0.0
        case Recency():
            if (moment := _as_date(value)) is None:
                return 0.0
            assert boost.at is not None
            age = max(0.0, (as_moment(boost.at) - moment) / boost.half_life)
            return float(boost.weight * 0.5**age)
        case _:
            assert_never(boost)


def _product(weight: float, value: float) -> float:
    try:
        return float(weight * value)
    except OverflowError:  # of whole numbers that are too large for a float
        return math.inf


def is_usable(boost: Recency | Boost, value: Json) -> bool:
    """Return whether a boost can use the value of an entry; the passage gets nothing if not."""
    match boost:
        case Boost():
            return _is_number(value)
        case Recency():
            return _as_date(value) is not None
        case _:
            assert_never(boost)


def _is_number(value: Json) -> TypeGuard[int | float]:
    """Return whether a boost can use the value of an entry as a number."""
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _as_date(value: Json) -> datetime | None:
    """Return the moment of an entry in ISO 8601 form; None if it is no date or time."""
    if not isinstance(value, str):
        return None
    try:
        return as_moment(datetime.fromisoformat(value))
    except ValueError:
        return None
