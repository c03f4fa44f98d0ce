"""Evaluate retrieval through a collection, with every mode of search.

The index is a collection on Qdrant Edge in a temporary folder. The metrics are in
``decant.evaluation``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from decant.embedders import Encoder
    from decant.evaluation import Embedder, Measurement, Retrieval
    from decant.integrations.qdrant import Collection, SearchMode, Words


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedRetrieval:
    """A task that scores an encoder's search by vectors, by words and by both; see :class:`Task`.

    Args:
        retrieval: The data set and its metrics.
        words: How the words of documents are indexed.
    """

    retrieval: Retrieval
    words: Words

    @property
    def name(self) -> str:
        """The name of the set."""
        return self.retrieval.name

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return every metric of each mode, metric by metric; sparse where the recipe has a head.

        Raises:
            EvaluationError: The embedder is not an encoder.
        """
        from decant.evaluation import EvaluationError
        from decant.integrations.qdrant import Collection, CollectionSettings, connect

        if getattr(embedder, "recipe", None) is None:
            raise EvaluationError(
                f"{self.name}: --hybrid makes a collection, which only bundles can fill; leave "
                "--hybrid out, or export the model to a bundle (decant export)"
            )
        encoder = cast("Encoder", embedder)
        settings = CollectionSettings(words=self.words)
        with tempfile.TemporaryDirectory(prefix="decant-") as folder, connect(folder) as store:
            collection = Collection.create(store, "retrieval", encoder, settings=settings)
            _fill(collection, self.retrieval)
            scored = [
                [
                    _named(one, mode)
                    for one in self.retrieval.score_search(_Search(collection, mode))
                ]
                for mode in _modes(collection)
            ]
        return tuple(one for metric in zip(*scored, strict=True) for one in metric)


@dataclass(frozen=True, slots=True)
class _Search:
    """A searcher of one mode."""

    collection: Collection
    mode: SearchMode

    def __call__(self, query: str, *, limit: int) -> Sequence[tuple[str, float]]:
        hits = self.collection.search(query, limit=limit, mode=self.mode)
        # The place, not the score: a fusion's scores fall only among the hits of one depth.
        return [(hit.id, -float(place)) for place, hit in enumerate(hits)]


def _modes(collection: Collection) -> list[SearchMode]:
    from decant.integrations.qdrant import SearchMode

    return [one for one in SearchMode if one is not SearchMode.SPARSE or collection.has_sparse]


def _fill(collection: Collection, retrieval: Retrieval) -> None:
    from decant.integrations.qdrant import Record

    documents = retrieval.data.documents.items()
    collection.add([Record(id=id_, text=text) for id_, text in documents if text.strip()])


def _named(measurement: Measurement, mode: SearchMode) -> Measurement:
    score = measurement.score
    return replace(measurement, score=replace(score, metric=f"{score.metric}, {mode.value}"))
