"""Every passage of a collection that meets a condition, page by page and without an upper limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..qdrant import All, Collection, Fetch, Field, FieldIn, Passage

if TYPE_CHECKING:
    from ..qdrant.conditions import Where

_PAGE = 1_000
# What else a collection stores are its own notes on documents.
_PASSAGES = FieldIn(Field.KIND, ["chunk", "record"])


def each_passage(collection: Collection, where: Where | None) -> Iterator[Passage]:
    """Yield the passages in no particular order; those that come or go meanwhile may be missed."""
    met = _PASSAGES if where is None else All([_PASSAGES, where])
    after = None
    while True:
        page = collection.store.scroll(
            collection.name, met, Fetch(fields=("id",)), limit=_PAGE, after=after
        )
        yield from collection.get([str(point.payload["id"]) for point in page.points])
        after = page.after
        if after is None:
            return
