"""How much boosts raise the score of a passage: arithmetic over its metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import assert_never

from ..stores.filters import Key, path_of
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

    >>> boosted(0.5, {"metadata": {"stars": 2}}, [Boost("stars", weight=0.1)])
    0.6
    """
    shares = [_share(boost, entry_of(payload, boost.key)) for boost in boosts]
    return score + abs(score) * sum(shares)


def entry_of(payload: Payload, key: Key) -> Json:
    """Return a metadata entry of a stored passage; None if it has none."""
    value: Json = payload.get("metadata")
    for name in (key,) if isinstance(key, str) else key:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _share(boost: Recency | Boost, value: Json) -> float:
    match boost:
        case Boost():
            return boost.weight * value if isinstance(value, bool | int | float) else 0.0
        case Recency():
            if (moment := _moment(value)) is None:
                return 0.0
            assert boost.at is not None
            age = max(0.0, (as_moment(boost.at) - moment) / boost.half_life)
            return float(boost.weight * 0.5**age)
        case _:
            assert_never(boost)


def _moment(value: Json) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return as_moment(datetime.fromisoformat(value))
    except ValueError:
        return None
