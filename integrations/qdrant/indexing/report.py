"""The report of an indexing run, counted while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from threading import Lock
from typing import TypeAlias

from .walk import Skipped, Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """The counts of an indexing run.

    Args:
        added: Documents that were not in the collection, or not completely.
        changed: Documents whose text, metadata or chunking differs from what was stored.
        unchanged: Documents that needed no change.
        repaired: Changed documents that changed only in the store: some of their chunks were lost
            or damaged there. Only ``verify=True`` looks for them.
        removed: Documents that their root no longer has.
        unreadable: Files and folders that could not be read; their stored chunks stay.
        embedded: Chunks whose vector was computed.
        reused: Chunks of added and changed documents whose vector was already stored.
        deleted: Chunks of changed and removed documents that were deleted.
        damaged: Documents in the indexed roots whose chunks are not those that were written, found
            by counting at the end. Their markers are open now, so the next run repairs them.
        problems: The unreadable files and folders with their reasons.
        skipped: Items of the folder that were skipped on purpose, such as a collection.
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
        """The number of indexed documents: added, changed and unchanged."""
        return self.added + self.changed + self.unchanged

    @property
    def counts(self) -> dict[str, int]:
        """The counts by name, for logs and traces: without names of files."""
        found = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: value for name, value in found if isinstance(value, int)}


IndexProgress: TypeAlias = Callable[[IndexReport], object]
"""Called now and then with the report so far, in the calling thread."""


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
