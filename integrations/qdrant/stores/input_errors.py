"""Errors of input that a store refuses: a file of their own, because every store raises them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

from decant.embedders import StoreError


class StoreInputError(StoreError):
    """An argument names no valid place or collection, or one that does not exist."""


class ReadOnlyError(StoreError):
    """A store that was connected with ``read_only=True`` was asked to write."""

    @classmethod
    def of(cls, what: str, place: str) -> Self:
        """Return the error for a write, of which nothing was sent or stored."""
        return cls(
            f"{what} at {place} was refused: the store was connected with read_only=True, and "
            "nothing was written; connect without it to write"
        )


class AbsentError(StoreInputError):
    """There is no collection of this name."""


class TenantError(StoreInputError):
    """A tenant is missing where a collection has tenants, or given where it must not be."""


def absent(name: str, place: str, names: Sequence[str]) -> AbsentError:
    """Return the error for a collection that does not exist; it names those that do."""
    there = f"it holds {', '.join(map(repr, names))}" if names else "it holds no collection yet"
    return AbsentError(
        f"there is no collection {name!r} in {place}; {there}. Make it with Collection.create"
    )


def present(name: str, place: str) -> StoreError:
    """Return the error for a collection that already exists."""
    return StoreError(
        f"a collection {name!r} already exists in {place}; open it with Collection.open, or "
        "delete it with store.drop(name)"
    )


def is_alias(name: str, real: str, place: str) -> StoreError:
    """Return the error for an alias where a collection's own name is needed."""
    return StoreError(
        f"{name!r} is an alias of the collection {real!r} at {place}, and nothing was deleted; "
        f"drop {real!r} if that is meant, or delete the alias with a client of the server"
    )


def check_name(name: str) -> None:
    """Refuse a collection name that an engine or a file system would not accept.

    Raises:
        StoreInputError: The name is empty, too long, or holds other characters.
        TypeError: It is no string.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a collection is a string, got a {type(name).__name__}")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", name):
        raise StoreInputError(
            f"{name!r} cannot name a collection; use 1 to 200 letters, digits, '_', '-' and '.', "
            "and do not start with '-' or '.'"
        )
