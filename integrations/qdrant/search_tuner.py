"""Choose how a collection is searched from labelled queries, and measure what that gains.

Every query is embedded once and every ranking of it asked for once; all candidates are then ranked
and scored in memory. Nothing is written: what was chosen is kept by
:meth:`Collection.set_search_defaults`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from .collection import Collection
from .open import open_target
from .points.handle import Target
from .points.payloads import PASSAGES, is_passage
from .searching.candidates import Rankings
from .searching.choices import candidates, ranked_ids
from .searching.labelled_queries import LabelledQuery
from .searching.metrics import RankingMetric
from .searching.plans import queries_for_texts, single_modes
from .searching.selection import HeldOutGain, SelectionSettings, best, estimate_gain
from .stores.input_errors import StoreInputError
from .stores.point_ids import record_id
from .stores.protocol import Select, each_with, slices
from .stores.queries import Query, SearchMode
from .stores.search_defaults import DEPTH, SearchDefaults

LEAST_QUERIES = 20
"""With fewer queries, no difference between ways to search is more than chance."""
WANTED_QUERIES = 50
"""How many queries are recommended."""

_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchCandidate:
    """A way to search, and its score.

    Args:
        defaults: The way to search.
        score: The metric's mean over all queries, too high for the best of many.
    """

    defaults: SearchDefaults
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTuning:
    """What was measured of the ways to search a collection, and which one was chosen.

    Args:
        metric: What was measured.
        queries: How many queries were measured.
        left_out: How many queries had no relevant passage in the collection.
        unknown: The relevant ids and sources that the collection does not hold, sorted.
        candidates: The ways to search with their scores; the first is the present one.
        gain: What choosing gains on queries that did not choose.
        best: The candidate with the highest score.
        is_better: Whether the gain's interval lies above zero, so that it is more than chance.
    """

    metric: RankingMetric
    queries: int
    left_out: int
    unknown: tuple[str, ...]
    candidates: tuple[SearchCandidate, ...]
    gain: HeldOutGain
    best: SearchCandidate
    is_better: bool

    @property
    def present(self) -> SearchDefaults:
        """How the collection is searched now."""
        return self.candidates[0].defaults

    @property
    def chosen(self) -> SearchDefaults:
        """How the collection should be searched: the best way if it is better, else as now."""
        return self.best.defaults if self.is_better else self.present

    def __str__(self) -> str:
        """Return the outcome in one sentence."""
        if self.is_better:
            return (
                f"{self.best.defaults} is better than {self.present}: {self.gain} {self.metric} on "
                "queries that were left out of the choice"
            )
        if self.best == self.candidates[0]:
            return f"{self.present}, the present default, is the best; nothing is changed"
        return (
            f"not better than the default ({self.present}) by more than chance: {self.gain} "
            f"{self.metric}; nothing is changed"
        )


def tune_search(
    collection: Collection,
    queries: Sequence[LabelledQuery],
    *,
    metric: RankingMetric | None = None,
    settings: SelectionSettings | None = None,
) -> SearchTuning:
    """Return which way of searching a collection serves these queries best; nothing is written.

    The candidates are each ranking alone, and their fusions with several formulas and weights.

    Args:
        collection: The collection, with an index of words or sparse vectors.
        queries: Such as its users ask; 50 or more are recommended.
        metric: What counts; nDCG@10 by default.
        settings: How the gain is estimated.

    Raises:
        StoreInputError: Fewer than 20 queries have a relevant passage in the collection, or the
            collection has one ranking alone, so that there is nothing to choose.
        StoreError: The store failed.
    """
    metric, settings = metric or RankingMetric(), settings or SelectionSettings()
    # Opened anew: another opener may have changed the defaults.
    target = open_target(collection.store, collection.name, collection.encoder)
    branches = single_modes(target)
    if len(branches) < 2:
        raise StoreInputError(
            f"the collection {target.name!r} has dense vectors alone, so there is nothing to "
            "choose; make one with CollectionSettings(words=Words()) (decant index --words)"
        )
    labels = _find_labels(target, {key for one in queries for key in one.relevant})
    asked = [one for one in queries if labels.grades(one)]
    if len(asked) < LEAST_QUERIES:
        raise StoreInputError(
            f"{len(asked)} of {len(queries)} queries have a relevant passage in the collection "
            f"{target.name!r}; at least {LEAST_QUERIES} are needed, and {WANTED_QUERIES} or more "
            "are wanted: label more, by the ids or sources that its hits have"
        )
    tried = candidates(branches, target.search or SearchDefaults(mode=SearchMode.HYBRID))
    scores = np.array(
        [
            [metric.score(unite(ranked_ids(one, rankings)), grades) for one in tried]
            for rankings, grades, unite in _rank_all(target, asked, labels, tried)
        ]
    )  # (Q, C)
    found = [
        SearchCandidate(defaults=one, score=float(mean))
        for one, mean in zip(tried, scores.mean(axis=0), strict=True)
    ]
    gain, chosen = estimate_gain(scores, settings), best(scores)
    return SearchTuning(
        metric=metric,
        queries=len(asked),
        left_out=len(queries) - len(asked),
        unknown=tuple(sorted(labels.unknown)),
        candidates=tuple(found),
        gain=gain,
        best=found[chosen],
        is_better=chosen != 0 and gain.low > 0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labels:
    """What the labels of queries are in a collection.

    Args:
        passages: Those that are ids of passages.
        sources: Those that are sources of passages, and no ids.
        unknown: All others.
    """

    passages: frozenset[str]
    sources: frozenset[str]
    unknown: frozenset[str]

    def grades(self, query: LabelledQuery) -> dict[Hashable, int]:
        """Return the grades of a query by point id, or by :class:`_Document` for sources."""
        found: dict[Hashable, int] = {}
        for key, grade in query.relevant.items():
            if key in self.passages:
                found[record_id(key)] = grade
            elif key in self.sources:
                found[_Document(key)] = grade
        return found


@dataclass(frozen=True, slots=True)
class _Document:
    """All passages of one source, which count as one."""

    source: str


def _find_labels(target: Target, labels: set[str]) -> _Labels:
    """Return which labels are ids of passages, which are sources, and which are neither."""
    store, name = target.store, target.name
    passages: set[str] = set()
    for part in slices(sorted(labels), _BATCH):
        keys = {record_id(key): key for key in part}
        found = store.retrieve(name, list(keys), Select(fields=("kind",)))
        passages |= {keys[point.id] for point in found if is_passage(point)}
    rest = sorted(labels - passages)
    pages = each_with(store, name, PASSAGES, Select(fields=("source",)), sources=rest)
    sources = {str(point.payload["source"]) for page in pages for point in page}
    return _Labels(
        passages=frozenset(passages),
        sources=frozenset(sources),
        unknown=frozenset({*rest} - sources),
    )


_Unite: TypeAlias = Callable[[Sequence[str]], list[Hashable]]


def _rank_all(
    target: Target,
    queries: Sequence[LabelledQuery],
    labels: _Labels,
    tried: Sequence[SearchDefaults],
) -> Iterator[tuple[Rankings, dict[Hashable, int], _Unite]]:
    """Yield the rankings of each query, its grades, and what joins the passages of a source."""
    depth = max(DEPTH, *(one.fusion.depth for one in tried if one.fusion is not None))
    for part in slices(queries, _BATCH):
        plans = queries_for_texts(target, [one.text for one in part], single_modes(target))
        ranked = [_rank(target, plan, depth) for plan in plans]
        owners: dict[str, str] = {}
        if labels.sources:
            ids = {key for one in ranked for ranking in one.named.values() for key, _ in ranking}
            for some in slices(sorted(ids), _BATCH):
                points = target.store.retrieve(target.name, some, Select(fields=("source",)))
                owners |= {point.id: str(point.payload.get("source") or "") for point in points}
        for one, found in zip(part, ranked, strict=True):
            grades = labels.grades(one)
            yield found, grades, partial(_united, grades=grades, owners=owners)


def _rank(target: Target, queries: Mapping[SearchMode, Query], depth: int) -> Rankings:
    """Return the rankings of a query, in one request."""
    found = target.store.rank(target.name, list(queries.values()), limit=depth) if queries else []
    return Rankings.fetched(dict(zip(queries, found, strict=True)), depth)


def _united(
    ids: Sequence[str], *, grades: Mapping[Hashable, int], owners: Mapping[str, str]
) -> list[Hashable]:
    """Return a ranking in which the passages of a source are one, at the place of the best.

    Only for queries with labelled sources; a passage that is labelled itself stays itself.
    """
    if not any(isinstance(key, _Document) for key in grades):
        return list(ids)
    found: dict[Hashable, None] = {}
    for one in ids:
        source = owners.get(one, "")
        found[one if one in grades or not source else _Document(source)] = None
    return list(found)
