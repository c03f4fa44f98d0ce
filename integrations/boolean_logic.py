"""Join parts of a framework's filter, of which some are met by every passage or by none.

``in []`` is met by nothing and ``nin []`` by everything. Neither has a condition of decant's, which
refuses empty ones, so while a filter is read such parts are plain booleans. Invariant: what comes
out holds no boolean inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from .qdrant import And, Condition, Not, Or
from .shown import NOTHING

if TYPE_CHECKING:
    from qdrant_client import models

Part: TypeAlias = "Condition | models.Filter | bool"
"""A condition; True if every passage meets it, False if none does."""


def all_of(parts: Sequence[Part]) -> Part:
    """Return what holds where all parts hold; True without parts."""
    if any(part is False for part in parts):
        return False
    open_parts = [part for part in parts if not isinstance(part, bool)]
    return And(open_parts) if open_parts else True


def any_of(parts: Sequence[Part]) -> Part:
    """Return what holds where at least one part holds; False without parts."""
    if any(part is True for part in parts):
        return True
    open_parts = [part for part in parts if not isinstance(part, bool)]
    return Or(open_parts) if open_parts else False


def negate(part: Part) -> Part:
    """Return the complement of a part."""
    return not part if isinstance(part, bool) else Not(part)


def as_condition(part: Part) -> Condition | models.Filter | None:
    """Return a whole filter as a condition; None if every passage meets it.

    >>> as_condition(all_of([True, negate(False)])) is None
    True
    """
    if part is True:
        return None
    return NOTHING if part is False else part
