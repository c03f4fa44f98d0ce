"""Errors of input that a store refuses: a file of their own, because every store raises them."""

from __future__ import annotations

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
