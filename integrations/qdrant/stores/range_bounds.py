"""The bounds of a :class:`Range` in the form that engines take: numbers, or moments of time.

Engines compare times as moments, whatever offset they were written with; a time without an offset
is UTC. A date as a bound means the whole of that day in UTC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Generic, TypeVar

from decant.embedders import StoreError

from .plain_values import plain

T = TypeVar("T", float, datetime)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds(Generic[T]):
    """Bounds, of which at least one is not None."""

    gt: T | None = None
    gte: T | None = None
    lt: T | None = None
    lte: T | None = None


class Numbers(Bounds[float]):
    """Finite numbers."""

    __slots__ = ()


class Times(Bounds[datetime]):
    """Moments, each with its offset from UTC."""

    __slots__ = ()


def read_bounds(given: Mapping[str, object], owner: str) -> Numbers | Times:
    """Return the bounds from a user's ``gt``, ``gte``, ``lt`` and ``lte``; None is no bound.

    Raises:
        StoreError: There is no bound; or one is neither a number nor a date, or is not finite; or
            numbers and dates are mixed. The message holds the owner.
    """
    held = {name: bound for name, bound in given.items() if bound is not None}
    if not held:
        raise StoreError(f"{owner} has no bound; give gt, gte, lt or lte")
    times = {name: bound for name, bound in held.items() if isinstance(bound, date)}
    if not times:
        return Numbers(**{name: _number(bound, name, owner) for name, bound in held.items()})
    if len(times) < len(held):
        raise StoreError(f"{owner} has numbers and dates as bounds; give either")
    return Times(**dict(_moment(bound, name, owner) for name, bound in times.items()))


def _number(bound: object, name: str, owner: str) -> float:
    number = plain(bound)
    if not isinstance(number, int | float):
        advice = "a number, a datetime.date or a datetime.datetime"
        if isinstance(bound, str):
            advice += f", such as datetime.date.fromisoformat({bound!r}) if it is a date"
        raise StoreError(
            f"{owner} has the bound {name}={bound!r}, a {type(bound).__name__}; give {advice}"
        )
    try:
        is_finite = math.isfinite(number)
    except OverflowError:
        is_finite = False  # an integer beyond all floats
    if not is_finite:
        raise StoreError(f"{owner} has a bound that is not finite; leave that bound out")
    return number


def _moment(bound: date, name: str, owner: str) -> tuple[str, datetime]:
    if bound != bound:  # noqa: PLR0124  (the missing time of pandas)
        raise StoreError(f"{owner} has a bound that is no time; leave that bound out")
    if isinstance(bound, datetime):
        return name, as_moment(bound)
    if name in ("gt", "lte"):  # the end of the day
        if bound == date.max:
            return name, datetime.max.replace(tzinfo=UTC)
        return {"gt": "gte", "lte": "lt"}[name], _midnight(bound + timedelta(days=1))
    return name, _midnight(bound)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def as_moment(value: datetime) -> datetime:
    """Return a time with an offset; a time without one is UTC."""
    return value.replace(tzinfo=UTC) if value.utcoffset() is None else value
