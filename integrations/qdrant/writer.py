"""Write embedded steps to the store, in the order that makes every crash harmless.

Within one flush: markers are opened, new chunks come, kept chunks move, old chunks go, markers are
closed. Nothing old goes before everything new is there, and a marker is closed last of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .plan import Plan
from .points import Marker
from .report import IndexReport, Tally
from .store import Point, Store

_POINTS = 256
_DOCUMENTS = 64
_DURABLE = 32  # flushes of ours between two of the store's


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A stretch of a document's plan.

    Args:
        opening: The marker to write before these points; only in a document's first step.
        points: Chunks to store.
        closing: The plan whose rest is due after these points; only in the last step.
        embedded: How many texts were embedded for these points.
    """

    opening: Marker | None
    points: Sequence[Point]
    closing: Plan | None
    embedded: int = 0


class Writer:
    """Gathers steps and writes them in batches. Used by one thread.

    Args:
        store: Where to.
        name: The collection.
        tally: Told what is done when it is done; what is embedded is told by others.
    """

    def __init__(self, store: Store, name: str, tally: Tally) -> None:
        self._store = store
        self._name = name
        self._tally = tally
        self._openings: list[Marker] = []
        self._points: list[Point] = []
        self._closings: list[Plan] = []
        self._embedded = 0
        self._flushes = 0

    def take(self, step: Step) -> None:
        """Add a step, and write if enough has come together."""
        if step.opening is not None:
            self._openings.append(step.opening)
        self._points.extend(step.points)
        self._embedded += step.embedded
        if step.closing is not None:
            self._closings.append(step.closing)
        if len(self._points) >= _POINTS or len(self._closings) >= _DOCUMENTS:
            self.flush()

    def flush(self) -> None:
        """Write what is gathered."""
        store, name = self._store, self._name
        plans = self._closings
        store.upsert(name, [marker.point() for marker in self._openings])
        store.upsert(name, self._points)
        store.set_fields(name, [point for plan in plans for point in plan.moved])
        store.delete(name, [identity for plan in plans for identity in plan.gone])
        store.upsert(name, [plan.closing.point() for plan in plans])
        self._tally.add(
            IndexReport(
                added=sum(plan.is_new for plan in plans),
                changed=sum(not plan.is_new for plan in plans),
                reused=len(self._points) - self._embedded + sum(plan.kept for plan in plans),
                deleted=sum(len(plan.gone) for plan in plans),
            )
        )
        self._openings, self._points, self._closings, self._embedded = [], [], [], 0
        self._flushes += 1
        if self._flushes % _DURABLE == 0:
            # Else the log of an engine in this process would grow with the run.
            store.flush(name)
