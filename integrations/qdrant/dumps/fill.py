"""Store the points of a dump that are not there yet: what a first and a repeated restore both do.

A file of its own, because whole collections, adopted ones and tenants are filled in the same way.
Invariant: a point that is there is not written again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Protocol, TypeAlias, TypeVar

DumpProgress: TypeAlias = Callable[[int, int], object]
"""Called with the number of points done, and of all points."""


class HasId(Protocol):
    """A point."""

    @property
    def id(self) -> Hashable:
        """Its id."""
        ...


P = TypeVar("P", bound=HasId)


def fill(
    blocks: Iterable[list[P]],
    there: Callable[[list[P]], set[str]] | Callable[[list[P]], set[int | str]],
    write: Callable[[list[P]], None],
    told: tuple[int, DumpProgress | None],
) -> int:
    """Store the points that are not there, and return how many these are.

    Args:
        blocks: The points, block by block.
        there: Returns the ids of the points of a block that are stored.
        write: Stores points, at least one.
        told: How many points there are in all, and what is told after each block.
    """
    written = done = 0
    total, progress = told
    for block in blocks:
        held = there(block)
        missing = [one for one in block if one.id not in held]
        if missing:
            write(missing)
        written += len(missing)
        done += len(block)
        if progress is not None:
            progress(done, total)
    return written
