"""A folder whose collections are read and never changed.

Every method of a store that writes is refused here by name. A server's counterpart is in
``server/clients/client.py``, where each request passes. Invariant: no file of a collection is
changed by a call; the engine itself may write its own files when it opens a collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from .edge.store import EdgeStore
from .stores.collection_metadata import CollectionMetadata
from .stores.collection_settings import CollectionSettings, Layout, PayloadIndex
from .stores.input_errors import ReadOnlyError
from .stores.protocol import OptimizeProgress, Point
from .stores.search_defaults import SearchDefaults


class ReadOnlyEdgeStore(EdgeStore):
    """A folder that was connected with ``read_only=True``; see :class:`EdgeStore`."""

    def create(self, name: str, card: CollectionMetadata, settings: CollectionSettings) -> None:  # noqa: ARG002
        """Refuse to make a collection."""
        raise self._refused(f"making the collection {name!r}")

    def drop(self, name: str) -> None:
        """Refuse to delete a collection."""
        raise self._refused(f"deleting the collection {name!r}")

    def set_search_defaults(self, name: str, defaults: SearchDefaults | None) -> None:  # noqa: ARG002
        """Refuse to change how a collection is searched."""
        raise self._refused(f"keeping how {name!r} is searched")

    def add_index(self, name: str, entry: PayloadIndex) -> None:
        """Refuse to make a payload index."""
        raise self._refused(f"indexing {entry.path!r} in {name!r}")

    def relayout(self, name: str, layout: Layout) -> None:  # noqa: ARG002
        """Refuse to change the layout of a collection."""
        raise self._refused(f"changing the layout of {name!r}")

    def upsert(self, name: str, points: Sequence[Point]) -> None:  # noqa: ARG002
        """Refuse to store points."""
        raise self._refused(f"writing to {name!r}")

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:  # noqa: ARG002
        """Refuse to change points."""
        raise self._refused(f"writing to {name!r}")

    def delete(self, name: str, ids: Sequence[str]) -> None:  # noqa: ARG002
        """Refuse to delete points."""
        raise self._refused(f"deleting from {name!r}")

    def optimize(self, name: str, *, progress: OptimizeProgress | None = None) -> None:  # noqa: ARG002
        """Refuse to build the vector index."""
        raise self._refused(f"optimizing {name!r}")

    def flush(self, name: str) -> None:
        """Do nothing, because nothing was written."""

    def _between_writes(self, name: str) -> AbstractContextManager[None]:
        """Refuse to change an alias, or the note of a migration."""
        raise self._refused(f"changing what {name!r} means")

    def _refused(self, what: str) -> ReadOnlyError:
        self._check()
        return ReadOnlyError.of(what, self.place)
