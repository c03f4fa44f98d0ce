"""Write embedded steps to the store, in the order that makes every crash harmless.

Within one flush: markers are opened, new chunks come, kept chunks move, old chunks go, markers are
closed. Nothing old goes before everything new is there, and a marker is closed last of all. A
flush holds the collection's lock, and leaves out what belongs to a plan whose claim is stale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ..points.locks import Claims
from ..stores.protocol import Point, Store
from .documents import Document
from .plan import Plan
from .report import IndexReport, Tally

_POINTS = 256
_DOCUMENTS = 64
_DURABLE = 32  # flushes of ours between two of the store's


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A stretch of a document's plan.

    Args:
        plan: The plan.
        is_first: Whether the document's marker is to be opened before these points.
        points: Chunks to store.
        is_last: Whether the rest of the plan is due after these points.
        embedded: How many texts were embedded for these points.
    """

    plan: Plan
    is_first: bool
    points: Sequence[Point]
    is_last: bool
    embedded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a run writes to.

    Args:
        store: What holds the collection.
        name: The collection.
        claims: What the run has under way.
        guard: Held during each flush.
        embedded: Called before vectors of the encoder are stored.
    """

    store: Store
    name: str
    claims: Claims
    guard: AbstractContextManager[object]
    embedded: Callable[[], None]


class Writer:
    """Gathers steps and writes them in batches. Used by one thread.

    Args:
        to: Where to.
        tally: Told what is done when it is done; what is embedded is told by others.
    """

    def __init__(self, to: Destination, tally: Tally) -> None:
        self._to = to
        self._tally = tally
        self._steps: list[Step] = []
        self._points = 0
        self._documents = 0
        self._flushes = 0
        self._stale: list[Document] = []

    @property
    def stale(self) -> list[Document]:
        """The documents that others changed meanwhile, in part or not written: plan them again."""
        return self._stale

    def take(self, step: Step) -> None:
        """Add a step, and write if enough has come together."""
        self._steps.append(step)
        self._points += len(step.points)
        self._documents += step.is_last
        if self._points >= _POINTS or self._documents >= _DOCUMENTS:
            self.flush()

    def flush(self) -> None:
        """Write what is gathered."""
        with self._to.guard:
            if any(step.embedded for step in self._steps):
                self._to.embedded()  # within, so that nobody empties the collection in between
            self._write([step for step in self._steps if not step.plan.claim.is_stale])
            # A plan that has become stale in between is met by its last step.
            ended = [step.plan for step in self._steps if step.is_last]
            self._stale += [plan.document for plan in ended if plan.claim.is_stale]
            self._to.claims.release([plan.document.key for plan in ended])
        self._steps, self._points, self._documents = [], 0, 0
        self._flushes += 1
        if self._flushes % _DURABLE == 0:
            # Else the log of an engine in this process would grow with the run.
            self._to.store.flush(self._to.name)

    def _write(self, steps: Sequence[Step]) -> None:
        store, name = self._to.store, self._to.name
        points = [point for step in steps for point in step.points]
        plans = [step.plan for step in steps if step.is_last]
        store.upsert(name, [step.plan.opening.point() for step in steps if step.is_first])
        store.upsert(name, points)
        moved = [point for plan in plans for point in plan.moved]
        lost = set(store.set_fields(name, moved))
        for plan in plans if lost else ():
            # Its vectors went with the chunk, so the document stays open until it is planned again.
            if any(point.id in lost for point in plan.moved):
                plan.claim.is_stale = True
        done = [plan for plan in plans if not plan.claim.is_stale]
        store.delete(name, [identity for plan in done for identity in plan.gone])
        store.upsert(name, [plan.closing.point() for plan in done])
        self._tally.add(
            IndexReport(
                added=sum(plan.is_new for plan in done),
                changed=sum(not plan.is_new for plan in done),
                repaired=sum(plan.repairs for plan in done),
                reused=len(points)
                - sum(step.embedded for step in steps)
                + sum(plan.kept for plan in done),
                deleted=sum(len(plan.gone) for plan in done),
            )
        )
