"""The errors of training, in decant's tree."""

from __future__ import annotations

from decant.embedders import DecantError


class DataError(DecantError, ValueError):
    """Training data are not what a method needs; the message holds file and line."""


class TrainingError(DecantError):
    """A run cannot begin, go on, or be resumed."""
