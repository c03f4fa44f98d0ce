"""Evaluate retrieval through a collection, with every mode of search, and with a reranker.

The index is a collection on Qdrant Edge in a temporary folder. The metrics are in
``decant.evaluation``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from decant.embedders import Encoder, Reranker
    from decant.evaluation import Embedder, Measurement, Retrieval
    from decant.integrations.qdrant import Collection, Fusion, SearchDefaults, SearchMode, Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranking:
    """A reranker to evaluate, how many of the best hits it scores, and its task.

    Args:
        reranker: Scores the hits.
        candidates: How many of the best.
        instruction: The task, in place of its own; None: its own.
    """

    reranker: Reranker
    candidates: int
    instruction: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedRetrieval:
    """A task that scores an encoder's search by vectors, by words and by both; see :class:`Task`.

    Args:
        retrieval: The data set and its metrics.
        words: How the words of documents are indexed.
        reranking: A reranker, which is compared with the best way to search without it.
    """

    retrieval: Retrieval
    words: Words
    reranking: Reranking | None = None

    @property
    def name(self) -> str:
        """The name of the set."""
        return self.retrieval.name

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return every metric of each mode, metric by metric; sparse where the recipe has a head.

        With a reranker also those of the best way to search and of its candidates reranked, and
        then what the reranker gains and costs.

        Raises:
            EvaluationError: The embedder is not an encoder.
        """
        from decant.evaluation import EvaluationError
        from decant.integrations.qdrant import Collection, CollectionSettings, connect

        if getattr(embedder, "recipe", None) is None:
            raise EvaluationError(
                f"{self.name}: --hybrid and --rerank make a collection, which only bundles can "
                "fill; leave them out, or export the model to a bundle (decant export)"
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
            last: list[Measurement] = []
            if (reranking := self.reranking) is not None:
                best = _best_search(collection, self.retrieval)
                search = _Search(collection, best.mode, best.fusion)
                found = self.retrieval.score_reranked(
                    search,
                    reranking.reranker,
                    candidates=reranking.candidates,
                    instruction=reranking.instruction,
                )
                scored.append([_called(one, "best search", str(best)) for one in found.before])
                scored.append([_called(one, "reranked") for one in found.after])
                last = [found.gain, found.cost]
        return (*(one for metric in zip(*scored, strict=True) for one in metric), *last)


@dataclass(frozen=True, slots=True)
class _Search:
    """A searcher of one mode, and of one fusion where that is given."""

    collection: Collection
    mode: SearchMode
    fusion: Fusion | None = None

    def __call__(self, query: str, *, limit: int) -> Sequence[tuple[str, float]]:
        hits = self.collection.search(query, limit=limit, mode=self.mode, fusion=self.fusion)
        # The place, not the score: a fusion's scores fall only among the hits of one depth.
        return [(hit.id, -float(place)) for place, hit in enumerate(hits)]


def _modes(collection: Collection) -> list[SearchMode]:
    from decant.integrations.qdrant import SearchMode

    return [one for one in SearchMode if one is not SearchMode.SPARSE or collection.has_sparse]


def _fill(collection: Collection, retrieval: Retrieval) -> None:
    from decant.integrations.qdrant import Record

    documents = retrieval.data.documents.items()
    collection.add([Record(id=id_, text=text) for id_, text in documents if text.strip()])


def _best_search(collection: Collection, retrieval: Retrieval) -> SearchDefaults:
    """Return the way to search that is best for the set's own queries.

    That favours the search over the reranker, which was not chosen by them. Where the queries are
    too few to choose, it is the default.
    """
    from decant.integrations.qdrant import (
        LabelledQuery,
        SearchDefaults,
        SearchMode,
        StoreInputError,
        tune_search,
    )

    data = retrieval.data
    labelled = [
        LabelledQuery(text=data.queries[query], relevant=relevant)
        for query in data.judgements
        if (relevant := data.relevant(query)) and data.queries[query].strip()
    ]
    try:
        return tune_search(collection, labelled).best.defaults
    except StoreInputError:
        return SearchDefaults(mode=SearchMode.HYBRID)


def _named(measurement: Measurement, mode: SearchMode) -> Measurement:
    return _called(measurement, mode.value)


def _called(measurement: Measurement, way: str, note: str = "") -> Measurement:
    """Return a measurement with the way to search in the name of its metric."""
    score = measurement.score
    notes = "; ".join(one for one in (note, score.note) if one)
    metric = f"{score.metric}, {way}"
    return replace(measurement, score=replace(score, metric=metric, note=notes))
