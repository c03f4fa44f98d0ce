"""Write embedded steps to the store, in an order that makes every crash harmless.

One flush opens markers, stores new chunks, moves kept chunks, deletes old chunks, and closes
markers. Old chunks are deleted only after all new ones are stored, and a marker is closed last. A
flush holds the collection's lock, and leaves out plans whose claim is stale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ..points.locks import Claims
from ..stores.changes import Change, Delete, Upsert, change_in_order
from ..stores.protocol import Point, Store
from .documents import Document
from .plan import Plan
from .report import IndexReport, Tally

# To a server a flush is one request, or three if chunks move.
_POINTS = 256
_DOCUMENTS = 256
_DURABLE = 32  # flushes of the writer between two flushes of the store


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A part of a document's plan.

    Args:
        plan: The plan.
        is_first: Whether the document's marker must be opened before these points.
        points: Chunks to store.
        is_last: Whether the rest of the plan follows after these points.
        embedded: How many texts were embedded for these points.
    """

    plan: Plan
    is_first: bool
    points: Sequence[Point]
    is_last: bool
    embedded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """The collection to which a run writes.

    Args:
        store: The store that holds the collection.
        name: The collection's name.
        claims: The run's claims.
        guard: Held during each flush.
        embedded: Called before vectors of the encoder are stored.
    """

    store: Store
    name: str
    claims: Claims
    guard: AbstractContextManager[object]
    embedded: Callable[[], None]


class Writer:
    """Collects steps and writes them in batches. Used by one thread.

    Args:
        to: The collection.
        tally: Counts written documents; embedded texts are counted elsewhere.
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
        """Documents that others changed meanwhile, and that must be planned again."""
        return self._stale

    def take(self, step: Step) -> None:
        """Add a step, and write if there are enough."""
        self._steps.append(step)
        self._points += len(step.points)
        self._documents += step.is_last
        if self._points >= _POINTS or self._documents >= _DOCUMENTS:
            self.flush()

    def flush(self) -> None:
        """Write all collected steps."""
        with self._to.guard:
            if any(step.embedded for step in self._steps):
                self._to.embedded()  # under the guard, so that nobody empties the collection
            self._write([step for step in self._steps if not step.plan.claim.is_stale])
            # A plan that became stale in between is handled with its last step.
            ended = [step.plan for step in self._steps if step.is_last]
            self._stale += [plan.document for plan in ended if plan.claim.is_stale]
            self._to.claims.release([plan.document.key for plan in ended])
        self._steps, self._points, self._documents = [], 0, 0
        self._flushes += 1
        if self._flushes % _DURABLE == 0:
            # Otherwise the log of an engine in this process would grow with the run.
            self._to.store.flush(self._to.name)

    def _write(self, steps: Sequence[Step]) -> None:
        store, name = self._to.store, self._to.name
        points = [point for step in steps for point in step.points]
        plans = [step.plan for step in steps if step.is_last]
        opening = [step.plan.opening.point() for step in steps if step.is_first]
        stored: list[Change] = [Upsert(points=opening), Upsert(points=points)]
        if moved := [point for plan in plans for point in plan.moved]:
            # Only its own answer says which of these chunks were gone.
            change_in_order(store, name, stored)
            stored = []
            _set_stale(plans, set(store.set_fields(name, moved)))
        done = [plan for plan in plans if not plan.claim.is_stale]
        gone = [identity for plan in done for identity in plan.gone]
        closing = [plan.closing.point() for plan in done]
        change_in_order(store, name, [*stored, Delete(ids=gone), Upsert(points=closing)])
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


def _set_stale(plans: Sequence[Plan], lost: set[str]) -> None:
    """Leave documents open whose chunks were deleted with their vectors.

    They are planned again.
    """
    for plan in plans if lost else ():
        if any(point.id in lost for point in plan.moved):
            plan.claim.is_stale = True
