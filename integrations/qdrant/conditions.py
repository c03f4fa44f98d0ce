"""Metadata filters: a small typed form that means the same on every engine.

A condition is a plain value. :func:`translate` turns it into an engine's own filter through a
:class:`Dialect`, so both engines get the same tree by construction. A ``models.Filter`` of
qdrant-client may stand wherever a condition may; the dialect takes it as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from decant.embedders import StoreError

if TYPE_CHECKING:
    from qdrant_client import models

Scalar: TypeAlias = str | int | float | bool
Key: TypeAlias = str | tuple[str, ...]
"""The name of a metadata entry, to the letter; a tuple of names goes down into nested objects."""


class Field(StrEnum):
    """What every stored passage carries beside its metadata and can be searched by."""

    SOURCE = "source"
    ROOT = "root"
    ID = "id"
    KIND = "kind"
    TEXT_SHA256 = "text_sha256"


@dataclass(frozen=True, slots=True)
class Equals:
    """The entry holds this value; of a list, one of its items does. 1 and 1.0 are not equal."""

    key: Key
    value: Scalar

    def __post_init__(self) -> None:
        _check_key(self.key)
        _check_scalar(self.value)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The entry holds one of these values, of which there is at least one."""

    key: Key
    values: Sequence[Scalar]

    def __post_init__(self) -> None:
        _check_key(self.key)
        object.__setattr__(self, "values", _several(self.values, "AnyOf"))
        for value in self.values:
            _check_scalar(value)


@dataclass(frozen=True, slots=True)
class Range:
    """The entry is a number within the bounds; at least one bound is given."""

    key: Key
    _: KW_ONLY
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None

    def __post_init__(self) -> None:
        _check_key(self.key)
        bounds = [bound for bound in (self.gt, self.gte, self.lt, self.lte) if bound is not None]
        if not bounds:
            raise StoreError(f"Range({self.key!r}) has no bound; give gt, gte, lt or lte")
        if not all(math.isfinite(bound) for bound in bounds):
            raise StoreError(f"{self} has a bound that is not finite; leave that bound out")


@dataclass(frozen=True, slots=True)
class Exists:
    """The entry is there and is neither null nor an empty list."""

    key: Key

    def __post_init__(self) -> None:
        _check_key(self.key)


@dataclass(frozen=True, slots=True)
class FieldIn:
    """One of our own fields, such as the source, holds one of these values."""

    field: Field
    values: Sequence[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _several(self.values, "FieldIn"))


@dataclass(frozen=True, slots=True)
class All:
    """Every part holds; there is at least one."""

    parts: Sequence[Where]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _several(self.parts, "All"))


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part holds; there is at least one."""

    parts: Sequence[Where]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _several(self.parts, "Either"))


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold; an entry that is missing makes most conditions not hold."""

    part: Where


Condition: TypeAlias = Equals | AnyOf | Range | Exists | FieldIn | All | Either | Not
Where: TypeAlias = "Condition | models.Filter"

FilterT = TypeVar("FilterT")


class Dialect(Protocol[FilterT]):
    """How one engine writes its filters; every method gives a filter of that engine."""

    def equals(self, path: str, value: str | int | bool) -> FilterT:
        """The value at ``path`` is this one."""
        ...

    def any_of(self, path: str, values: list[str] | list[int]) -> FilterT:
        """The value at ``path`` is one of these."""
        ...

    def within(self, path: str, bounds: Range) -> FilterT:
        """The number at ``path`` is within the bounds; the key of ``bounds`` is not looked at."""
        ...

    def empty(self, path: str) -> FilterT:
        """There is nothing at ``path``, or null, or an empty list."""
        ...

    def join(
        self,
        *,
        must: Sequence[FilterT] = (),
        should: Sequence[FilterT] = (),
        must_not: Sequence[FilterT] = (),
    ) -> FilterT:
        """All of ``must``, one of ``should`` where there are any, none of ``must_not``."""
        ...

    def native(self, where: models.Filter) -> FilterT:
        """A filter of qdrant-client, in this engine's form."""
        ...


def translate(where: Where, dialect: Dialect[FilterT]) -> FilterT:
    """Return ``where`` as a filter of the dialect's engine.

    Raises:
        StoreError: The engine has no such condition.
    """
    match where:
        case Equals(key, value):
            return _equals(path_of(key), value, dialect)
        case AnyOf(key, values):
            return _any_of(path_of(key), values, dialect)
        case Range(key):
            return dialect.within(path_of(key), where)
        case Exists(key):
            return dialect.join(must_not=[dialect.empty(path_of(key))])
        case FieldIn(field, values):
            return dialect.any_of(str(field), list(values))
        case All(parts):
            return dialect.join(must=[translate(part, dialect) for part in parts])
        case Either(parts):
            return dialect.join(should=[translate(part, dialect) for part in parts])
        case Not(part):
            return dialect.join(must_not=[translate(part, dialect)])
        case _:
            return dialect.native(where)


def is_vacuous(where: Where) -> bool:
    """Return whether ``where`` holds for everything, because a filter in it has no condition."""
    match where:
        case Equals() | AnyOf() | Range() | Exists() | FieldIn() | Not():
            return False
        case All(parts):
            return all(is_vacuous(part) for part in parts)
        case Either(parts):
            return any(is_vacuous(part) for part in parts)
        case _:
            return _is_empty_filter(where)


def _is_empty_filter(given: object) -> bool:
    """Look into a ``models.Filter`` by its attributes; their other conditions have content."""
    if type(given).__name__ != "Filter":
        return False
    must, should, must_not = (
        _as_list(getattr(given, name)) for name in ("must", "should", "must_not")
    )
    if must_not or getattr(given, "min_should") is not None:  # noqa: B009
        return False
    demands_one = bool(should) and not any(_is_empty_filter(part) for part in should)
    return not demands_one and all(_is_empty_filter(part) for part in must)


def _as_list(given: object) -> list[object]:
    if given is None:
        return []
    return given if isinstance(given, list) else [given]


def path_of(key: Key) -> str:
    """Return where a metadata entry lies in the payload, in Qdrant's path syntax.

    >>> path_of("year"), path_of("a.b"), path_of(("author", "name"))
    ('metadata.year', 'metadata."a.b"', 'metadata.author.name')
    """
    names = (key,) if isinstance(key, str) else key
    return ".".join(["metadata", *(_quoted(name) for name in names)])


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def _equals(path: str, value: Scalar, dialect: Dialect[FilterT]) -> FilterT:
    # Engines match strings, integers and booleans exactly; a float only within bounds.
    if isinstance(value, float):
        return dialect.within(path, Range("value", gte=value, lte=value))
    return dialect.equals(path, value)


def _any_of(path: str, values: Sequence[Scalar], dialect: Dialect[FilterT]) -> FilterT:
    words = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if type(value) is int]
    parts = [dialect.any_of(path, found) for found in (words, numbers) if found]
    others = [value for value in values if isinstance(value, bool | float)]
    parts += [_equals(path, value, dialect) for value in others]
    return parts[0] if len(parts) == 1 else dialect.join(should=parts)


Item = TypeVar("Item")


def _several(items: Sequence[Item], what: str) -> tuple[Item, ...]:
    if isinstance(items, str):
        raise StoreError(f"{what} takes several values, got one string; write [{items!r}]")
    if not items:
        raise StoreError(f"{what} is empty; an empty condition is refused, leave it out instead")
    return tuple(items)


def _check_key(key: Key) -> None:
    names = (key,) if isinstance(key, str) else key
    if not names or any(not name or '"' in name for name in names):
        raise StoreError(f"a filter cannot address the metadata key {key!r}: empty, or with a '\"'")


def _check_scalar(value: object) -> None:
    if not isinstance(value, str | int | float):
        raise StoreError(f"a filter compares strings, numbers and booleans, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise StoreError(f"a filter cannot compare with {value!r}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise StoreError(f"a filter compares integers of 64 bits, got {value}")
