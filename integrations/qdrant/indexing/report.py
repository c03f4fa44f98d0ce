"""What an indexing run did, counted while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from threading import Lock
from typing import TypeAlias

from .walk import Skipped, Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """What an indexing run did.

    Args:
        added: Documents that were not in the collection, or never completely.
        changed: Documents whose text, metadata or chunking differs from what was stored.
        unchanged: Documents that cost one lookup.
        repaired: Of the changed ones, those that changed in the store alone: chunks of theirs were
            lost or damaged there. Only ``verify=True`` looks for them.
        removed: Documents that their root no longer has.
        unreadable: Files and folders that could not be read; what is stored of them stays.
        embedded: Chunks whose vector was computed.
        reused: Chunks of added and changed documents whose vector was there already.
        deleted: Chunks that left, of changed and removed documents.
        damaged: Documents of the roots indexed whose chunks were found to be others than were
            written, by counting at the end. Their markers are open now: the next run repairs them.
        problems: The unreadable ones with their reasons.
        skipped: What lies in the folder and was passed over on purpose, such as a collection.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    repaired: int = 0
    removed: int = 0
    unreadable: int = 0
    embedded: int = 0
    reused: int = 0
    deleted: int = 0
    damaged: int = 0
    problems: tuple[Unreadable, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @property
    def documents(self) -> int:
        """How many documents are done: added, changed and unchanged."""
        return self.added + self.changed + self.unchanged


IndexProgress: TypeAlias = Callable[[IndexReport], object]
"""Called from the calling thread, now and then, with the report so far."""


class Tally:
    """Adds up reports from several threads."""

    def __init__(self) -> None:
        self._total = IndexReport()
        self._lock = Lock()

    def add(self, part: IndexReport) -> None:
        """Add the counts of ``part``, and its problems."""
        with self._lock:
            total = self._total
            sums = {
                item.name: getattr(total, item.name) + getattr(part, item.name)
                for item in fields(IndexReport)
            }
            self._total = replace(total, **sums)

    @property
    def total(self) -> IndexReport:
        """The sum so far."""
        with self._lock:
            return self._total
