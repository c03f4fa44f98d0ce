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
    from decant.integrations.qdrant import Collection, SearchMode


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedRetrieval:
    """A task that scores an encoder's dense, sparse and hybrid search; see :class:`Task`.

    Args:
        retrieval: The data set and its metrics.
    """

    retrieval: Retrieval

    @property
    def name(self) -> str:
        """The name of the set."""
        return self.retrieval.name

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return every metric of each mode, metric by metric.

        Raises:
            EvaluationError: The embedder is not an encoder with a sparse head.
        """
        from decant.evaluation import EvaluationError
        from decant.integrations.qdrant import Collection, SearchMode, connect

        recipe = getattr(embedder, "recipe", None)
        if recipe is None or recipe.sparse_head is None:
            raise EvaluationError(
                f"{self.name}: there are no sparse vectors to search with; --hybrid is for bundles "
                "whose recipe has a sparse head (decant export --strategy splade or promptreps)"
            )
        encoder = cast("Encoder", embedder)
        with tempfile.TemporaryDirectory(prefix="decant-") as folder, connect(folder) as store:
            collection = Collection.create(store, "retrieval", encoder)
            _fill(collection, self.retrieval)
            scored = [
                [
                    _named(one, mode)
                    for one in self.retrieval.score_search(_Search(collection, mode))
                ]
                for mode in SearchMode
            ]
        return tuple(one for metric in zip(*scored, strict=True) for one in metric)


@dataclass(frozen=True, slots=True)
class _Search:
    """A searcher of one mode."""

    collection: Collection
    mode: SearchMode

    def __call__(self, query: str, *, limit: int) -> Sequence[tuple[str, float]]:
        hits = self.collection.search(query, limit=limit, mode=self.mode)
        return [(hit.id, hit.score) for hit in hits]


def _fill(collection: Collection, retrieval: Retrieval) -> None:
    from decant.integrations.qdrant import Record

    documents = retrieval.data.documents.items()
    collection.add([Record(id=id_, text=text) for id_, text in documents if text.strip()])


def _named(measurement: Measurement, mode: SearchMode) -> Measurement:
    score = measurement.score
    return replace(measurement, score=replace(score, metric=f"{score.metric}, {mode.value}"))
