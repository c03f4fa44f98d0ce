"""Intervals for a filter that finds all stored numbers equal to a given number.

Numbers equal in value match, in whatever form they were written: 9 and 9.0. Engines match integers
exactly and other numbers only within bounds, and they round floats: their JSON parser returns
12.7 % of random doubles one unit in the last place off. Invariant: an interval finds the same
numbers whether the engine compares floats or, with an index of integers, integers, even if it cuts
the fraction off a bound (servers before 1.18).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

# Above, neighbouring integers are the same float, so an interval would hold several.
EXACT_INTEGERS = 2**53
# Below, "9.0" has at most 53 bits without its point, so the engines' parser is exact.
_EXACT_FLOATS = 2.0**49
_HALVES = 2**52  # from here on, floats are one apart or more
# Between these, the parser rounds once, because the power of ten is exact: measured, by one unit at
# most, and parsing again changes nothing. Outside, it is up to two units, and more when parsed
# again.
_STEADY = (1e-6, 1e30)
_DRIFT, _FAR_DRIFT = 1, 8
# A bound that is sent over REST is parsed once, too, and so may come nearer.
_BOUND_DRIFT, _FAR_BOUND_DRIFT = 1, 2
_LARGEST = sys.float_info.max
_BRANCHES = 6  # the fastest on Edge without an index, measured for 10 to 1,000 numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Numbers from ``low`` to ``high``; None means no bound.

    Args:
        low: The lower bound.
        high: The upper bound.
        open: Whether the bounds themselves are excluded.
    """

    low: float | None
    high: float | None
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Intervals, or further branches, and an interval around all of them."""

    around: Interval
    parts: Sequence[Interval | Branch]


def intervals(value: float) -> list[Interval]:
    """Return the intervals that hold exactly the stored numbers that equal ``value``.

    A whole number below 2**49 equals itself only. A fraction, or a larger number, also equals the
    floats to which engines may have rounded it. An integer of 2**52 and more equals no other
    integer, so it does not match rounded floats.

    Args:
        value: A finite number; an integer is below :data:`EXACT_INTEGERS`.

    >>> intervals(9.0)
    [Interval(low=9.0, high=9.0, open=False)]
    """
    number = float(value)
    found: list[Interval] = []
    whole = isinstance(value, int) and abs(value) >= _HALVES
    # From 2**52 on, the open interval below also holds the number itself in an index of integers.
    if whole or (number.is_integer() and abs(number) < _HALVES):
        found.append(Interval(low=number, high=number))
        if whole or abs(number) < _EXACT_FLOATS:
            return found
    low, high = _STEADY
    is_steady = low <= abs(number) <= high
    reach = _DRIFT + _BOUND_DRIFT if is_steady else _FAR_DRIFT + _FAR_BOUND_DRIFT
    # Open and one unit further: closed bounds without their fraction would hold an integer.
    low_end, high_end = _step(number, -reach - 1), _step(number, reach + 1)
    return [*found, Interval(low=low_end, high=high_end, open=True)]


def branched(parts: Sequence[Interval]) -> list[Interval | Branch]:
    """Return intervals as a shallow tree, so that few are compared with each stored number.

    The parts are alternatives, a few at each level. Without an index, an engine spends as much time
    on each part as on the whole test of a list of integers.
    """
    rows: list[Interval | Branch] = sorted(parts, key=_lowest)
    while len(rows) > _BRANCHES:
        groups = [rows[start : start + _BRANCHES] for start in range(0, len(rows), _BRANCHES)]
        rows = [Branch(around=_hull(group), parts=group) for group in groups]
    return rows


def _step(number: float, units: int) -> float | None:
    """Return the float so many units in the last place away; None if there is none."""
    for _ in range(abs(units)):
        number = math.nextafter(number, math.copysign(math.inf, units))
    return number if math.isfinite(number) else None


def _hull(parts: Sequence[Interval | Branch]) -> Interval:
    spans = [part.around if isinstance(part, Branch) else part for part in parts]
    highs = [_LARGEST if span.high is None else span.high for span in spans]
    return Interval(low=min(_lowest(part) for part in parts), high=max(highs))


def _lowest(part: Interval | Branch) -> float:
    low = part.around.low if isinstance(part, Branch) else part.low
    return -_LARGEST if low is None else low
