"""What ``load`` takes of a bundle and why, and what it does not take and why.

``choose_graph.py`` decides; here are only the records that tell it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..bundle.precision import Precision


class Cause(StrEnum):
    """Why ``auto`` does not take something that could run."""

    NOT_INSTALLED = "not installed"
    NOT_HERE = "not on this machine"
    NOT_CERTIFIED = "not certified"
    FAILED = "failed its certificate"
    LOSES = "loses too much"
    SLOWER = "measured slower"
    LATER = "later in the order"
    NOT_OPENED = "does not open"


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedGraph:
    """A precision on a provider that ``auto`` did not take.

    Args:
        provider: The provider's full name.
        precision: The precision.
        cause: The kind of reason.
        reason: The reason in words.
    """

    provider: str
    precision: Precision
    cause: Cause
    reason: str

    def __str__(self) -> str:
        """Return both names and the reason."""
        return f"{self.precision} on {self.provider}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphChoice:
    """What runs, and why.

    Args:
        provider: The provider's full name.
        precision: The precision.
        reason: Why it was chosen.
        rejected: What else could run, and why it does not.
        advice: What may make encoding faster, with the command; empty if nothing is known to.
    """

    provider: str
    precision: Precision
    reason: str
    rejected: tuple[RejectedGraph, ...] = ()
    advice: str = ""

    def __str__(self) -> str:
        """Return the choice as one sentence."""
        return f"{self.precision} on {self.provider}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What ``load`` tries in turn, and what ``tune`` compares.

    Args:
        choices: The choices, best first; a later one is tried where the one before does not open.
        eligible: All that ``auto`` may take, in the order of the table: provider and precision.
    """

    choices: tuple[GraphChoice, ...]
    eligible: tuple[tuple[str, Precision], ...]
