"""The errors of this folder, in a file of their own, because every wing raises them."""

from __future__ import annotations

from decant.embedders import DecantError


class DataError(DecantError, ValueError):
    """Training data are not what a method needs; the message names file and line."""


class TrainingError(DecantError):
    """A run cannot start, continue or be resumed."""
