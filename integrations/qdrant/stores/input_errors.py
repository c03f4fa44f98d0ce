"""Errors of input that a store refuses: a file of their own, because every store raises them."""

from __future__ import annotations

from decant.embedders import StoreError


class StoreInputError(StoreError):
    """What was given names no place, no collection, or none that is there."""


class AbsentError(StoreInputError):
    """There is no collection of this name."""
