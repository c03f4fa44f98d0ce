"""Errors of a store that say: what was given is wrong, or not there; the store itself is well."""

from __future__ import annotations

from decant.embedders import StoreError


class StoreInputError(StoreError):
    """What was given names no place, no collection, or none that is there."""


class AbsentError(StoreInputError):
    """There is no collection of this name."""
