"""Refuse arguments that are no series of records or documents.

A string is a series of strings, and people pass the name of a folder in place of documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def check_series(items: object, call: str, kind: type[object], advice: str) -> None:
    """Refuse an argument that cannot be a series of items of a kind.

    Args:
        items: The argument; it is not iterated.
        call: The call that takes it, for the message.
        kind: The class of the items.
        advice: What to write instead.

    Raises:
        TypeError: ``items`` is one item, a string, bytes, a mapping, or no iterable at all.
    """
    if isinstance(items, kind | str | bytes | Mapping) or not isinstance(items, Iterable):
        raise TypeError(f"{call} takes several, got {_named(items)}; {advice}")


def checked_item(item: object, kind: type[T], place: int, call: str, advice: str) -> T:
    """Return an item of a series, after a check of its kind.

    Raises:
        TypeError: It is of another kind; the message holds its place, counted from 0.
    """
    if not isinstance(item, kind):
        raise TypeError(f"{call} got {_named(item)} at {place}; {advice}")
    return item


def _named(value: object) -> str:
    if isinstance(value, str):  # it is not quoted, because it may be a text
        return f"a string of {len(value):,} characters"
    return f"a {type(value).__name__}"
