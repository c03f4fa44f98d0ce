"""Translate conditions into the filters of an engine, through its dialect.

Both engines get the same tree of conditions by construction; what differs is only how each writes a
single one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from ..filters import (
    And,
    Equals,
    Exists,
    FieldIn,
    In,
    Not,
    Or,
    Range,
    StartsWith,
    Where,
    check_nesting,
    path_of,
)
from ..plain_values import Value
from ..range_bounds import Numbers, Times, as_moment
from .number_ranges import EXACT_INTEGERS, Branch, Interval, branched, intervals

if TYPE_CHECKING:
    from qdrant_client import models

FilterT = TypeVar("FilterT")


class Dialect(Protocol[FilterT]):
    """The form of filters of one engine; every method returns a filter of that engine."""

    def equals(self, path: str, value: str | int | bool) -> FilterT:
        """Return the condition that the value at ``path`` is this one."""
        ...

    def any_of(self, path: str, values: list[str] | list[int]) -> FilterT:
        """Return the condition that the value at ``path`` is one of these."""
        ...

    def within(self, path: str, bounds: Numbers) -> FilterT:
        """Return the condition that the number at ``path`` is within the bounds."""
        ...

    def during(self, path: str, bounds: Times) -> FilterT:
        """Return the condition that the string at ``path`` is a time within the bounds."""
        ...

    def starts_with(self, path: str, prefix: str) -> FilterT:
        """Return the condition that the string at ``path`` starts with this prefix."""
        ...

    def empty(self, path: str) -> FilterT:
        """Return the condition that ``path`` has no value, or null, or an empty list."""
        ...

    def join(
        self,
        *,
        must: Sequence[FilterT] = (),
        should: Sequence[FilterT] = (),
        must_not: Sequence[FilterT] = (),
    ) -> FilterT:
        """Return a filter: all of ``must``, one of ``should`` if any, none of ``must_not``."""
        ...

    def native(self, where: models.Filter) -> FilterT:
        """Return a filter of qdrant-client in this engine's form."""
        ...


def translate(where: Where, dialect: Dialect[FilterT]) -> FilterT:
    """Return ``where`` as a filter of the dialect's engine.

    Raises:
        StoreError: The engine has no such condition, or it is nested too deep.
    """
    match where:
        case Equals(key, value):
            return _equals(path_of(key), value, dialect)
        case In(key, values):
            return _any_of(path_of(key), values, dialect)
        case Range(key):
            return _ranged(path_of(key), where.bounds, dialect)
        case Exists(key):
            return dialect.join(must_not=[dialect.empty(path_of(key))])
        case StartsWith() | FieldIn():
            return _of_strings(where, dialect)
        case And(parts):
            return dialect.join(must=[translate(part, dialect) for part in parts])
        case Or(parts):
            return dialect.join(should=[translate(part, dialect) for part in parts])
        case Not(part):
            return dialect.join(must_not=[translate(part, dialect)])
        case Mapping():
            parts = [Equals(key, value) for key, value in where.items()]
            return dialect.join(must=[translate(part, dialect) for part in parts])
        case _:
            check_nesting(where)
            return dialect.native(where)


def _of_strings(where: StartsWith | FieldIn, dialect: Dialect[FilterT]) -> FilterT:
    if isinstance(where, StartsWith):
        return dialect.starts_with(where.path, where.prefix)
    return dialect.any_of(str(where.field), cast("list[str] | list[int]", [*where.values]))


def _equals(path: str, value: Value, dialect: Dialect[FilterT]) -> FilterT:
    if isinstance(value, bool | str):
        return dialect.equals(path, value)
    return _any_of(path, [value], dialect)


def _any_of(path: str, values: Sequence[Value], dialect: Dialect[FilterT]) -> FilterT:
    words = [value for value in values if isinstance(value, str)]
    flags = [value for value in values if isinstance(value, bool)]
    numbers = [
        value for value in values if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    moments = [as_moment(value) for value in values if isinstance(value, datetime)]
    large = [int(number) for number in numbers if _is_large(number)]
    parts = [dialect.any_of(path, found) for found in (words, large) if found]
    parts += [dialect.equals(path, flag) for flag in dict.fromkeys(flags)]
    parts += [dialect.during(path, Times(gte=one, lte=one)) for one in dict.fromkeys(moments)]
    # Not a match of integers, for which an index of floats does not work, nor strict mode with it.
    near = [span for number in numbers if not _is_large(number) for span in intervals(number)]
    parts += [_within(path, part, dialect) for part in branched(list(dict.fromkeys(near)))]
    return parts[0] if len(parts) == 1 else dialect.join(should=parts)


def _ranged(path: str, bounds: Numbers | Times, dialect: Dialect[FilterT]) -> FilterT:
    return (
        dialect.during(path, bounds) if isinstance(bounds, Times) else dialect.within(path, bounds)
    )


def _is_large(number: float) -> bool:
    return isinstance(number, int) and abs(number) >= EXACT_INTEGERS


def _within(path: str, part: Interval | Branch, dialect: Dialect[FilterT]) -> FilterT:
    if isinstance(part, Branch):
        inner = [_within(path, one, dialect) for one in part.parts]
        around = _within(path, part.around, dialect)
        return dialect.join(must=[around, dialect.join(should=inner)])
    if part.open:
        return dialect.within(path, Numbers(gt=part.low, lt=part.high))
    return dialect.within(path, Numbers(gte=part.low, lte=part.high))
