"""Metadata filters: a small typed form that means the same on every engine.

A condition is a plain value, which ``translation/`` turns into an engine's own filter. A
``models.Filter`` of qdrant-client is allowed wherever a condition is, and is passed on unchanged. A
mapping of metadata entries to values, all of which must be equal, is allowed, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from decant.embedders import StoreError

from .plain_values import Scalar, Value, plain
from .range_bounds import Numbers, Times, read_bounds

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
        check_key(self.key)
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
        check_key(self.key)
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
        check_key(self.key)
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
        check_key(self.key)


@dataclass(frozen=True, slots=True)
class StartsWith:
    """The entry, or one of decant's own fields, is a string that starts with this prefix.

    Upper and lower case differ; of a list one item does. Servers know it from version 1.19.

    >>> StartsWith(Field.SOURCE, "guide/").prefix
    'guide/'
    """

    key: Key | Field
    prefix: str

    def __post_init__(self) -> None:
        if not isinstance(self.key, Field):
            check_key(self.key)
        prefix: object = self.prefix
        if isinstance(prefix, str):
            check_unicode(prefix)
        if not isinstance(prefix, str) or not prefix or self.key == Field.START:
            raise StoreError(
                f"StartsWith takes a string that is not empty, and a key of strings, got "
                f"StartsWith({self.key!r}, {self.prefix!r})"
            )

    @property
    def path(self) -> str:
        """The path in the payload."""
        return str(self.key) if isinstance(self.key, Field) else path_of(self.key)


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
        check_nesting(self)


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds; there is at least one. Parts of a nested Or become parts of this."""

    parts: Sequence[Where]

    def __post_init__(self) -> None:
        parts: list[Where] = []
        for part in _several(self.parts, "Or"):
            parts.extend(part.parts if isinstance(part, Or) else [part])
        object.__setattr__(self, "parts", tuple(parts))
        check_nesting(self)


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold; for a missing entry most conditions do not hold."""

    part: Where

    def __post_init__(self) -> None:
        check_nesting(self)


Condition: TypeAlias = Equals | In | Range | Exists | StartsWith | FieldIn | And | Or | Not
"""A typed filter, the same on every engine."""
Where: TypeAlias = "Condition | models.Filter | Mapping[str, Value]"
"""A condition, or a filter of qdrant-client, or a mapping of exact names of metadata entries to
values, all of which must be equal (:class:`Equals`); an empty mapping is no condition."""

# Each level is two levels of a message, of which gRPC reads 100, and numbers in In need some.
_MOST_NESTED = 30


def is_vacuous(where: Where) -> bool:
    """Return whether every point meets ``where``, because a filter in it has no condition."""
    match where:
        case Equals() | In() | Range() | Exists() | StartsWith() | FieldIn() | Not():
            return False
        case And(parts):
            return all(is_vacuous(part) for part in parts)
        case Or(parts):
            return any(is_vacuous(part) for part in parts)
        case Mapping():
            return not where
        case _:
            check_nesting(where)
            return _is_empty(where)


def path_of(key: Key) -> str:
    """Return the path of a metadata entry in the payload, in Qdrant's syntax.

    >>> path_of("year"), path_of("a.b"), path_of(("author", "name"))
    ('metadata.year', 'metadata."a.b"', 'metadata.author.name')
    """
    names = (key,) if isinstance(key, str) else key
    return ".".join(["metadata", *(_quoted(name) for name in names)])


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


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


def check_nesting(where: Where) -> None:
    """Refuse a condition that is nested deeper than engines read.

    Raises:
        StoreError: It is nested too deep.
    """
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
            return _client_nesting(where, most=_MOST_NESTED + 1)


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def check_key(key: object) -> None:
    """Refuse a key that no filter can address.

    Raises:
        StoreError: It is no name, is empty, or has a character that paths of engines cannot hold.
    """
    if isinstance(key, Field):
        raise StoreError(
            f"{key!r} is decant's own field and no metadata key; write FieldIn({key!r}, [...]), "
            f"StartsWith({key!r}, ...), or {str(key)!r} for a metadata entry of that name"
        )
    names = (key,) if isinstance(key, str) else key
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise StoreError(f"a metadata key is a string or a tuple of strings, not {_brief(key)}")
    # The engines' path syntax has no escapes.
    if not names or any(not name or '"' in name or "\\" in name for name in names):
        raise StoreError(
            f"a filter cannot address the metadata key {key!r}: it is empty, or has a '\"' or a "
            "'\\'; filter by another key"
        )


def check_unicode(text: str) -> None:
    """Refuse a text with half of a surrogate pair, which engines cannot read.

    Raises:
        StoreError: The message holds the text, escaped.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"a filter compares valid Unicode, got {text!a}") from error


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
    if isinstance(found, str):
        check_unicode(found)
    if isinstance(found, int) and not -(2**63) <= found < 2**63:
        raise StoreError(f"a filter compares integers of 64 bits, got {found}")
    return found


# Filters of qdrant-client are read by the names of their attributes, so that nothing here imports
# it: a caller with such a filter has imported it already.
def _is_empty(given: object) -> bool:
    """Return whether this is a ``models.Filter`` that every point meets.

    It may be nested as deep as conditions may be (:func:`_client_nesting`).
    """
    if type(given).__name__ != "Filter":
        return False  # other conditions of the client have content
    must, should, must_not = (
        _as_list(getattr(given, name)) for name in ("must", "should", "must_not")
    )
    if must_not or getattr(given, "min_should") is not None:  # noqa: B009
        return False
    demands_one = bool(should) and not any(_is_empty(part) for part in should)
    return not demands_one and all(_is_empty(part) for part in must)


def _client_nesting(given: object, *, most: int) -> int:
    """Return how deep filters of the client are nested; at most ``most + 1`` is counted.

    Other objects do not count. This works without recursion, because filters may be nested deeper
    than Python's stack, or contain themselves.
    """
    level, here = 0, [given]
    while here and level <= most:
        inner = [part for one in here for part in _client_parts(one)]
        if not inner and not any(type(one).__name__ == "Filter" for one in here):
            break
        level, here = level + 1, inner
    return level


def _client_parts(given: object) -> list[object]:
    match type(given).__name__:
        case "Filter":
            names = ("must", "should", "must_not")
            parts = [part for name in names for part in _as_list(getattr(given, name))]
            least = getattr(given, "min_should")  # noqa: B009
            return parts if least is None else [*parts, *_as_list(least.conditions)]
        case "NestedCondition":
            return [getattr(given, "nested").filter]  # noqa: B009
        case _:
            return []


def _as_list(given: object) -> list[object]:
    if given is None:
        return []
    return given if isinstance(given, list) else [given]
