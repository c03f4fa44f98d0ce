"""The one error of this folder; it stands below ``DecantError``, beside those of the embedders."""

from __future__ import annotations

from decant.embedders import DecantError


class EvaluationError(DecantError, ValueError):
    """A data set is malformed, or a score is not defined for what was found."""
