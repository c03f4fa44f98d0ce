"""Errors of input that a store refuses: a file of their own, because every store raises them."""

from __future__ import annotations

from decant.embedders import StoreError


class StoreInputError(StoreError):
    """An argument names no valid place or collection, or one that does not exist."""


class AbsentError(StoreInputError):
    """There is no collection of this name."""
