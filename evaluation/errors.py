"""The error of this folder, in a file of its own, because every wing raises it."""

from __future__ import annotations

from decant.embedders import DecantError


class EvaluationError(DecantError, ValueError):
    """A data set is malformed, or a score is not defined for the data."""
