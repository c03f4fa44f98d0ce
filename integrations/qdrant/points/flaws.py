"""Flaws of stored passages and documents, and how to find those of one passage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from decant.embedders.tokens import is_unseen

from ..matryoshka.prefix import is_prefix
from ..stores.protocol import Point
from .payloads import sha256

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Flaw(StrEnum):
    """A flaw of a stored document, chunk or record."""

    MISSING = "missing"
    """A document has fewer chunks than its marker counts."""

    SURPLUS = "surplus"
    """A document has more chunks than its marker counts."""

    REPLACED = "replaced"
    """A document has as many chunks as its marker counts, but not those that were written."""

    INTERRUPTED = "interrupted"
    """A document's marker is open: a run was interrupted, and its next run completes it."""

    ORPHANED = "orphaned"
    """There are chunks whose document has no marker, so it was deleted or never written."""

    ALTERED = "altered"
    """A passage's text has another hash than was stored with it."""

    UNSEARCHABLE = "unsearchable"
    """A passage has no dense vector, or one that is not finite, or zeros alone, which a disk may
    return for lost data; or its prefix is missing or not that of its vector, in a collection that
    searches prefixes. No search finds it by its text."""

    INCOMPLETE = "incomplete"
    """A passage has no token vectors, in a collection that keeps them. Late interaction puts it
    behind all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One flaw that was found.

    Args:
        flaw: Its kind.
        root: The root of the document; None for a document without one, and for records.
        source: The source of the document or record.
        id: The id of the passage; None for the whole document.
        expected: How many chunks the document's marker counts.
        found: How many chunks the store holds.
    """

    flaw: Flaw
    root: str | None
    source: str
    id: str | None = None
    expected: int = 0
    found: int = 0

    def __str__(self) -> str:
        """Return the finding as one line."""
        place = self.source if self.root is None else f"{self.source} of {self.root}"
        match self.flaw:
            case Flaw.ALTERED | Flaw.UNSEARCHABLE | Flaw.INCOMPLETE:
                return f"{self.flaw}: passage {self.id} of {place}"
            case Flaw.INTERRUPTED | Flaw.ORPHANED:
                return f"{self.flaw}: {place}, {_chunks(self.found)} found"
            case Flaw.MISSING | Flaw.SURPLUS | Flaw.REPLACED:
                return (
                    f"{self.flaw}: {place}, {_chunks(self.expected)} expected, {self.found} found"
                )


def _chunks(number: int) -> str:
    return f"{number} chunk{'' if number == 1 else 's'}"


def is_usable(dense: NDArray[np.float32] | None) -> TypeGuard[NDArray[np.float32]]:
    """Return whether a stored dense vector can be compared with others."""
    return dense is not None and bool(np.isfinite(dense).all() and dense.any())


def find_flaw(point: Point, *, has_prefix: bool = False) -> Flaw | None:
    """Return the flaw of a single passage; None if it has none.

    Args:
        point: A point with its ``text``, ``text_sha256``, dense vector and prefix.
        has_prefix: Whether the collection has prefixes.
    """
    text = str(point.payload["text"])
    if sha256(text) != point.payload["text_sha256"]:
        return Flaw.ALTERED
    # A blank text has no vector, and only the encoder can decide what is blank.
    if is_unseen(text):
        return None
    if not is_usable(point.dense) or (has_prefix and not is_prefix(point.prefix, point.dense)):
        return Flaw.UNSEARCHABLE
    return None
