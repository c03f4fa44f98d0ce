"""Dumps are written and read in memory that does not grow with the collection."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from decant.integrations.qdrant import (
    Collection,
    Point,
    ScrollPage,
    Select,
    Store,
    dump,
    restore,
)
from dump_scene import ENCODER


class Synthetic:
    """A store that seems to hold many points, and keeps none that it is given.

    Args:
        store: Does everything else.
        count: How many points it seems to hold.
    """

    def __init__(self, store: Store, count: int) -> None:
        self._store = store
        self._count = count
        self.written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def count(self, _name: str, _where: object) -> int:
        return self._count

    def retrieve(self, _name: str, _ids: Sequence[str], _fetch: Select) -> list[Point]:
        return []

    def upsert(self, _name: str, points: Sequence[Point]) -> None:
        self.written += len(points)

    def scroll(
        self, _name: str, _where: object, fetch: Select, *, limit: int, after: str | None = None
    ) -> ScrollPage:
        start = int(after or 0)
        end = min(start + limit, self._count)
        rows = np.random.default_rng(start).standard_normal((end - start, 16), np.float32)
        points = [
            Point(
                id=f"00000000-0000-0000-0000-{start + place:012}",
                payload={"kind": "record", "text": f"a text of number {start + place} " * 5},
                dense=row if fetch.dense else None,
            )
            for place, row in enumerate(rows)
        ]
        return ScrollPage(points=points, after=None if end == self._count else str(end))


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peaks(edge: Store, scratch: Path, count: int) -> tuple[int, int]:
    """Return the peaks of memory of a dump of so many points, and of its restore."""
    store, file = Synthetic(edge, count), scratch / f"{count}.dump"
    seen = cast("Store", store)
    written = peak(lambda: dump(seen, "docs", file))
    read = peak(lambda: restore(file, seen, f"copy-{count}"))
    assert store.written == count
    return written, read


def test_memory_does_not_grow_with_the_collection(
    edge: Store, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decant.integrations.qdrant.dumps.dump._BLOCK_POINTS", 256)
    Collection.create(edge, "docs", ENCODER)
    peaks(edge, scratch, 10)  # which imports what there is to import
    small, small_read = peaks(edge, scratch, 1_000)
    large, large_read = peaks(edge, scratch, 4_000)
    assert large < 1.2 * small
    assert large_read < 1.2 * small_read
