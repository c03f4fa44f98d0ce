"""Metadata filters: a small typed form that means the same on every engine.

A condition is a plain value. :func:`translate` turns it into an engine's own filter through a
:class:`Dialect`, so both engines get the same tree by construction. A ``models.Filter`` of
qdrant-client is allowed wherever a condition is, and is passed on unchanged. A mapping of metadata
entries to values, all of which must be equal, is allowed, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, cast

from decant.embedders import StoreError

from .client_filters import is_empty, nesting
from .number_ranges import EXACT_INTEGERS, Branch, Interval, branched, intervals
from .plain_values import Scalar, Value, plain
from .range_bounds import Numbers, Times, as_moment, read_bounds

if TYPE_CHECKING:
    from qdrant_client import models

Key: TypeAlias = str | tuple[str, ...]
"""The exact name of a metadata entry; a tuple of names leads into nested objects."""


class Field(StrEnum):
    """Decant's own fields of every stored passage, which filters can use.

    All are strings but START, which is a whole number, and 0 for records.
    """

    SOURCE = "source"
    ROOT = "root"
    ID = "id"
    KIND = "kind"
    TEXT_SHA256 = "text_sha256"
    START = "start"


@dataclass(frozen=True, slots=True)
class Equals:
    """The entry equals this value; for a list, one of its items does.

    Numbers equal in value match, so 9 finds 9.0, and 9.0 finds 9; True and 1 are not equal. A float
    with a fraction, or of 2**49 and more, also finds values two units in the last place off (ten
    below 1e-6 and above 1e30), because stores round floats, and servers also round those in
    filters. Integers are compared exactly; one of 2**53 or more finds integers only, because a
    float of that size equals several integers.

    A ``datetime`` finds the same moment to the microsecond, whatever offset it was stored with (UTC
    without one). A date, a UUID, a path and a scalar of numpy find their stored forms, see
    :class:`Record`.
    """

    key: Key
    value: Value

    def __post_init__(self) -> None:
        _check_key(self.key)
        object.__setattr__(self, "value", _comparable(self.value))


@dataclass(frozen=True, slots=True)
class In:
    """The entry equals one of these values, of which there is at least one; see :class:`Equals`.

    Without an index each number takes time, so use an INTEGER index for long lists of integers. A
    server that limits the conditions of a filter counts each number as one.
    """

    key: Key
    values: Sequence[Value]

    def __post_init__(self) -> None:
        _check_key(self.key)
        values = tuple(map(_comparable, _several(self.values, "In")))
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, slots=True)
class Range:
    """The entry is a number, or a date or time, within the bounds; at least one bound is given.

    Bounds that are a ``date`` or ``datetime`` are compared as moments with strings in ISO 8601
    form, in which metadata store dates: a time without an offset is UTC, and a ``date`` is the
    whole day in UTC. Large collections need an index of the type DATETIME for this.
    """

    key: Key
    _: KW_ONLY
    gt: float | date | None = None
    gte: float | date | None = None
    lt: float | date | None = None
    lte: float | date | None = None

    def __post_init__(self) -> None:
        _check_key(self.key)
        self.bounds  # noqa: B018  (it refuses what is none)

    @property
    def bounds(self) -> Numbers | Times:
        """The bounds in the form that engines take.

        Raises:
            StoreError: The bounds are invalid; this can only happen in ``__post_init__``.
        """
        given = {"gt": self.gt, "gte": self.gte, "lt": self.lt, "lte": self.lte}
        return read_bounds(given, f"Range({self.key!r})")


@dataclass(frozen=True, slots=True)
class Exists:
    """The entry exists and is neither null nor an empty list."""

    key: Key

    def __post_init__(self) -> None:
        _check_key(self.key)


@dataclass(frozen=True, slots=True)
class FieldIn:
    """One of decant's own fields, such as the source, equals one of these values."""

    field: Field
    values: Sequence[str] | Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _several(self.values, "FieldIn"))
        kind, named = (int, "whole numbers") if self.field is Field.START else (str, "strings")
        for value in self.values:
            if not isinstance(value, kind) or isinstance(value, bool):
                raise StoreError(f"FieldIn({self.field!r}) holds {value!r}; its values are {named}")


@dataclass(frozen=True, slots=True)
class And:
    """Every part holds; there is at least one. The parts of a nested And become parts of this."""

    parts: Sequence[Where]

    def __post_init__(self) -> None:
        parts: list[Where] = []
        for part in _several(self.parts, "And"):
            parts.extend(part.parts if isinstance(part, And) else [part])
        object.__setattr__(self, "parts", tuple(parts))
        _check_nesting(self)


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds; there is at least one. Parts of a nested Or become parts of this."""

    parts: Sequence[Where]

    def __post_init__(self) -> None:
        parts: list[Where] = []
        for part in _several(self.parts, "Or"):
            parts.extend(part.parts if isinstance(part, Or) else [part])
        object.__setattr__(self, "parts", tuple(parts))
        _check_nesting(self)


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold; for a missing entry most conditions do not hold."""

    part: Where

    def __post_init__(self) -> None:
        _check_nesting(self)


Condition: TypeAlias = Equals | In | Range | Exists | FieldIn | And | Or | Not
"""A typed filter, the same on every engine."""
Where: TypeAlias = "Condition | models.Filter | Mapping[str, Value]"
"""A condition, or a filter of qdrant-client, or a mapping of exact names of metadata entries to
values, all of which must be equal (:class:`Equals`); an empty mapping is no condition."""

# Each level is two levels of a message, of which gRPC reads 100, and numbers in In need some.
_MOST_NESTED = 30

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
        case FieldIn(field, values):
            return dialect.any_of(str(field), cast("list[str] | list[int]", [*values]))
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
            _check_nesting(where)
            return dialect.native(where)


def is_vacuous(where: Where) -> bool:
    """Return whether every point meets ``where``, because a filter in it has no condition."""
    match where:
        case Equals() | In() | Range() | Exists() | FieldIn() | Not():
            return False
        case And(parts):
            return all(is_vacuous(part) for part in parts)
        case Or(parts):
            return any(is_vacuous(part) for part in parts)
        case Mapping():
            return not where
        case _:
            _check_nesting(where)
            return is_empty(where)


def path_of(key: Key) -> str:
    """Return the path of a metadata entry in the payload, in Qdrant's syntax.

    >>> path_of("year"), path_of("a.b"), path_of(("author", "name"))
    ('metadata.year', 'metadata."a.b"', 'metadata.author.name')
    """
    names = (key,) if isinstance(key, str) else key
    return ".".join(["metadata", *(_quoted(name) for name in names)])


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


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


Item = TypeVar("Item")


def _several(items: Sequence[Item], what: str) -> tuple[Item, ...]:
    if isinstance(items, str):
        raise StoreError(f"{what} takes several values, got one string; write [{items!r}]")
    if isinstance(items, bytes | Mapping) or not isinstance(items, Iterable):
        raise StoreError(f"{what} takes a list, got {_brief(items)} ({type(items).__name__})")
    several = tuple(items)
    if not several:
        raise StoreError(f"{what} is empty; an empty condition is refused, leave it out instead")
    return several


def _check_nesting(where: Where) -> None:
    # One more than documented, for the And that excludes markers from every search.
    if _nesting(where) > _MOST_NESTED + 1:
        raise StoreError(
            f"a condition may be nested {_MOST_NESTED} levels deep, this one is deeper: engines "
            "read no more; join its parts in one And or Or"
        )


def _nesting(where: Where) -> int:
    match where:
        case And(parts) | Or(parts):
            return 1 + max(_nesting(part) for part in parts)
        case Not(part):
            return 1 + _nesting(part)
        case _:
            return nesting(where, most=_MOST_NESTED + 1)


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _check_key(key: object) -> None:
    names = (key,) if isinstance(key, str) else key
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise StoreError(f"a metadata key is a string or a tuple of strings, not {_brief(key)}")
    # The engines' path syntax has no escapes.
    if not names or any(not name or '"' in name or "\\" in name for name in names):
        raise StoreError(
            f"a filter cannot address the metadata key {key!r}: it is empty, or has a '\"' or a "
            "'\\'; filter by another key"
        )


def _comparable(value: object) -> Scalar | datetime:
    """Return the JSON value for a comparison; a moment stays, because it has several forms."""
    if isinstance(value, datetime) and value == value:  # noqa: PLR0124  (not pandas' missing time)
        return value
    found = plain(value)
    if not isinstance(found, str | int | float):
        raise StoreError(
            f"a filter compares strings, numbers, booleans, dates, UUIDs and paths, not {value!r}"
        )
    if isinstance(found, float) and not math.isfinite(found):
        raise StoreError(f"a filter cannot compare with {found!r}")
    if isinstance(found, int) and not -(2**63) <= found < 2**63:
        raise StoreError(f"a filter compares integers of 64 bits, got {found}")
    return found
