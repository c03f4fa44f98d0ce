"""What can be wrong with stored passages and documents, and how to see it in one passage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from decant.embedders.tokens import is_unseen

from ..stores.protocol import Point
from .payloads import sha256

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Flaw(StrEnum):
    """What is wrong with a stored document, chunk or record."""

    MISSING = "missing"
    """A document has fewer chunks than its marker says."""

    SURPLUS = "surplus"
    """A document has more chunks than its marker says."""

    REPLACED = "replaced"
    """A document has as many chunks as its marker says, and not those that were written."""

    INTERRUPTED = "interrupted"
    """A document's marker is open: a run was interrupted, and its next run completes it."""

    ORPHANED = "orphaned"
    """Chunks lie there whose document has no marker, so it was deleted or never written."""

    ALTERED = "altered"
    """A passage's text has another hash than was stored with it."""

    UNSEARCHABLE = "unsearchable"
    """A passage has no dense vector, one that is not finite, or zeros alone, which a disk gives
    back for what it lost; no search finds it for what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Args:
        flaw: What it is.
        root: The root of the document; None without, and for records.
        source: The document's or record's.
        id: Of the passage; None where the whole document is meant.
        expected: How many chunks the document's marker promises.
        found: How many are there.
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
            case Flaw.ALTERED | Flaw.UNSEARCHABLE:
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


def find_flaw(point: Point) -> Flaw | None:
    """Return what is wrong with a passage by itself; None if nothing is.

    Args:
        point: With its ``text``, ``text_sha256`` and dense vector.
    """
    text = str(point.payload["text"])
    if sha256(text) != point.payload["text_sha256"]:
        return Flaw.ALTERED
    # A blank text is stored without a vector, and what is blank is for the encoder to say.
    if not is_unseen(text) and not is_usable(point.dense):
        return Flaw.UNSEARCHABLE
    return None
