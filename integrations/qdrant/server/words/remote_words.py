"""What a server's collections store for their words, and how they are asked for them.

A text index needs nothing in a point. Else each text has a BM25 vector: the average length of texts
is measured on the first ones that are stored, and noted in the collection's metadata, so that all
writers use the same. Two first writers at once may both measure; what was noted last counts from
the next time that the collection is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from decant.embedders import StoreError
from decant.embedders.forks import renew_after_fork

from ...stores.protocol import TEXT, Point
from ...stores.sparse_vector import SparseVector
from ...stores.words import Words
from ...words.bm25 import WordVectors, average_length
from .text_index import StoredWords, WordsIndex, text_query

if TYPE_CHECKING:
    from qdrant_client import models

_UNMEASURED = 100.0  # for queries of a collection without texts, whose weights do not depend on it


class Catalog(Protocol):
    """What is needed of the collections of a server."""

    @property
    def place(self) -> str:
        """The address, for messages."""
        ...

    @property
    def can_score_texts(self) -> bool:
        """Whether the server and the client can rank by a text index."""
        ...

    def words(self, name: str) -> StoredWords | None:
        """Return how a collection indexes words; None if it does not."""
        ...

    def average_length(self, name: str) -> float | None:
        """Return how many words the texts of a collection have on average, as was noted."""
        ...

    def note_average_length(self, name: str, length: float) -> None:
        """Note how many words the first texts of a collection have on average."""
        ...


class RemoteWords:
    """Makes the BM25 vectors of points and queries, for collections that rank words by them.

    Args:
        catalog: The collections of the server.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._stored: dict[str, StoredWords | None] = {}
        self._vectors: dict[str, WordVectors] = {}
        self._lock = Lock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make the lock anew that another thread may have held at a fork."""
        self._lock = Lock()

    def remember(self, name: str, stored: StoredWords | None) -> None:
        """Keep how an open collection indexes words, if it does."""
        with self._lock:
            self._vectors.pop(name, None)
            self._stored[name] = stored

    def knows(self, name: str) -> bool:
        """Return whether a query by words needs no look at the collection."""
        return name in self._stored

    def forget(self, name: str) -> None:
        """Forget a collection that was deleted."""
        with self._lock:
            self._vectors.pop(name, None)
            self._stored.pop(name, None)

    def on(self, name: str, points: Sequence[Point]) -> Sequence[Point]:
        """Return points with the vectors of their words, if the collection has such vectors."""
        stored = self._of(name)
        if stored is None or stored.index is not WordsIndex.SPARSE:
            return points
        texts = [point.payload.get(TEXT) for point in points]
        found = [text for text in texts if isinstance(text, str) and text]
        if not found or (vectors := self._measured(name, stored.words, found)) is None:
            return points
        return [
            replace(point, words=vectors.of_text(text)) if isinstance(text, str) and text else point
            for point, text in zip(points, texts, strict=True)
        ]

    def of_query(self, name: str, text: str) -> SparseVector | models.TextQuery | None:
        """Return a query by words; None if a vector of them would be empty.

        Raises:
            StoreError: The collection has a text index, and the server or the client is too old.
        """
        stored = self._of(name)
        if stored is not None and stored.index is WordsIndex.TEXT:
            if not self._catalog.can_score_texts:
                raise StoreError(
                    f"the collection {name!r} at {self._catalog.place} ranks words by a text "
                    "index, which needs Qdrant 1.20 and qdrant-client 1.20, or later: upgrade the "
                    "one that is older, or search in the mode 'dense'"
                )
            return text_query(text)
        words = Words() if stored is None else stored.words
        return WordVectors(words, _UNMEASURED).of_query(text)

    def _of(self, name: str) -> StoredWords | None:
        if name not in self._stored:
            self.remember(name, self._catalog.words(name))
        return self._stored[name]

    def _measured(self, name: str, words: Words, texts: Sequence[str]) -> WordVectors | None:
        with self._lock:
            if name not in self._vectors:
                length = self._catalog.average_length(name)
                if length is None:
                    if (length := average_length(words, texts)) is None:
                        return None
                    self._catalog.note_average_length(name, length)
                self._vectors[name] = WordVectors(words, length)
            return self._vectors[name]
