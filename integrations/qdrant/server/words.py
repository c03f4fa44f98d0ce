"""The BM25 vectors of a server's collections: whose texts have them, and made with what.

The average length of texts is measured on the first ones that are stored, and noted in the
collection's metadata, so that all writers use the same. Two first writers at once may both measure;
what was noted last counts from the next time that the collection is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock

from decant.embedders.forks import renew_after_fork

from ..stores.collection_metadata import CollectionMetadata
from ..stores.protocol import TEXT, Point
from ..stores.sparse_vector import SparseVector
from ..stores.words import Words
from ..words.bm25 import WordVectors, average_length
from .collections import RemoteCatalog

_UNMEASURED = 100.0  # for queries of a collection without texts, whose weights do not depend on it


class RemoteWords:
    """Makes the BM25 vectors of points and queries, for collections that index words.

    Args:
        catalog: The collections of the server.
    """

    def __init__(self, catalog: RemoteCatalog) -> None:
        self._catalog = catalog
        self._words: dict[str, Words | None] = {}
        self._vectors: dict[str, WordVectors] = {}
        self._lock = Lock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make the lock anew that another thread may have held at a fork."""
        self._lock = Lock()

    def remember(self, name: str, card: CollectionMetadata | None) -> None:
        """Keep how a collection indexes words; None forgets it."""
        with self._lock:
            self._vectors.pop(name, None)
            self._words.pop(name, None)
            if card is not None:
                self._words[name] = card.words

    def on(self, name: str, points: Sequence[Point]) -> Sequence[Point]:
        """Return points with the vectors of their words, if the collection indexes words."""
        words = self._of(name)
        if words is None:
            return points
        texts = [point.payload.get(TEXT) for point in points]
        found = [text for text in texts if isinstance(text, str) and text]
        if not found or (vectors := self._measured(name, words, found)) is None:
            return points
        return [
            replace(point, words=vectors.of_text(text)) if isinstance(text, str) and text else point
            for point, text in zip(points, texts, strict=True)
        ]

    def of_query(self, name: str, text: str) -> SparseVector | None:
        """Return the vector of a query's words; None if it holds none."""
        return WordVectors(self._of(name) or Words(), _UNMEASURED).of_query(text)

    def _of(self, name: str) -> Words | None:
        if name not in self._words:
            self.remember(name, self._catalog.card(name))
        return self._words[name]

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
