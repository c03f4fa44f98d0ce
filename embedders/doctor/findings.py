"""The results of a diagnosis: findings, each of which is good, a note, or a problem."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """Whether a finding is good, neutral or bad."""

    GOOD = "good"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check.

    Args:
        topic: Its group: ``system``, ``runtime``, ``provider``, ``store``, ``extra``, ``bundle``.
        name: What was checked, for example ``CUDAExecutionProvider``.
        health: Whether it is as it should be; a note is neither good nor bad.
        detail: What was found.
        advice: What to do about it; empty if nothing.
    """

    topic: str
    name: str
    health: Health
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All findings, in the order of the checks."""

    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that need something done."""
        return tuple(item for item in self.findings if item.health is Health.PROBLEM)


def good(topic: str, name: str, detail: str) -> Finding:
    """Return a finding of something that is as it should be."""
    return Finding(topic=topic, name=name, health=Health.GOOD, detail=detail)


def note(topic: str, name: str, detail: str, advice: str = "") -> Finding:
    """Return a finding that is neither good nor bad."""
    return Finding(topic=topic, name=name, health=Health.NOTE, detail=detail, advice=advice)


def problem(topic: str, name: str, detail: str, advice: str = "") -> Finding:
    """Return a finding that needs something done."""
    return Finding(topic=topic, name=name, health=Health.PROBLEM, detail=detail, advice=advice)
