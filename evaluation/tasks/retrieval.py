"""Retrieval: are the relevant documents near the top, for each query of a BEIR set?

An embedder ranks exactly, by cosine over all documents; a :class:`Searcher` ranks as it likes, for
example by a search in an index. The measures are trec_eval's own, through
ir-measures: nDCG@10 with linear gains (Järvelin and Kekäläinen 2002), recall@100, reciprocal rank
@10 and average precision, each averaged over the queries that have a relevant document.
Every query's value is kept, so that two encoders can be compared query by query, and a ranking with
the same ranking after a reranker.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import ir_measures
import numpy as np
from ir_measures import AP, RR, R, nDCG
from numpy.typing import NDArray

from decant.embedders import Reranker, Role, best_first

from ..errors import EvaluationError
from ..models.protocol import Embedder, known, unit_vectors
from ..scores.exact_search import nearest
from ..scores.gain import measure_gain
from ..scores.measurement import Cases, Measurement, cases_of, described, measure
from ..scores.statistics import BOOTSTRAP, Bootstrap, mean_statistic
from ..scores.units import Unit
from .beir_files import RetrievalSet

_BLOCK = 4096


class Searcher(Protocol):
    """A search over the documents of one set."""

    def __call__(self, query: str, *, limit: int) -> Sequence[tuple[str, float]]:
        """Return ids of documents with their scores, best first and each once.

        Args:
            query: The text of a query.
            limit: How many documents, at most.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankedScores:
    """What a reranker is worth over a search, and what it costs.

    Args:
        before: The measures of the searcher's rankings, as :meth:`Retrieval.score_search` has them.
        after: The same of these rankings with their first candidates reranked.
        gain: What nDCG@10 gains, with a paired interval over queries; its note counts the queries
            that are better, worse and equal, and names those that lose most.
        cost: Milliseconds per query that the reranker took.
    """

    before: tuple[Measurement, ...]
    after: tuple[Measurement, ...]
    gain: Measurement
    cost: Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """The retrieval task of one set.

    Queries without a relevant document cannot be answered and are left out, as are queries that
    the embedder does not know; both lower the coverage, which is the share of judged queries.
    Documents that the embedder does not know, or that are blank, cannot be found: if one is
    relevant, it counts as missed, and each score's note says how many there are.

    Args:
        data: Documents, queries and judgements.
        depth: How many documents a ranking holds; average precision reads all of them, and 1000
            is what trec_eval's users take.
        bootstrap: Settings of the intervals over queries.

    Raises:
        EvaluationError: ``depth`` is below 100, which recall@100 reads.
    """

    data: RetrievalSet
    depth: int = 1000
    bootstrap: Bootstrap = BOOTSTRAP

    def __post_init__(self) -> None:
        if self.depth < 100:
            raise EvaluationError(f"depth must be at least 100 for recall@100, got {self.depth}")

    @property
    def name(self) -> str:
        """The name of the set."""
        return self.data.name

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return nDCG@10, recall@100, MRR@10 and MAP, in this order."""
        judged = list(self.data.judgements)
        texts = [self.data.queries[query] for query in judged]
        covered = known(embedder, texts)
        covered &= np.array([bool(self.data.relevant(query)) for query in judged])
        asked = [query for query, kept in zip(judged, covered, strict=True) if kept]
        if not asked:
            raise EvaluationError(f"{self.name}: none of the {len(judged)} queries can be embedded")
        run = ranked(self.data, asked, embedder, depth=self.depth)
        return self._measurements(run, judged, covered, known(embedder, self._texts))

    def score_search(self, search: Searcher) -> tuple[Measurement, ...]:
        """Return the same measures for the rankings of a searcher.

        Blank documents cannot be found, and blank queries are skipped.

        Raises:
            EvaluationError: The searcher gave an id that is not in the set, one twice, more than
                ``depth``, or a score above the one before it or that is not a number.
        """
        judged, covered, asked = self._asked()
        run = self._searched(search, asked)
        return self._measurements(run, judged, covered, self._written)

    def score_reranked(
        self,
        search: Searcher,
        reranker: Reranker,
        *,
        candidates: int = 50,
        instruction: str | None = None,
    ) -> RerankedScores:
        """Return the measures of a searcher's rankings before and after a reranker.

        Args:
            search: The searcher, whose rankings are what the reranker has to be better than.
            reranker: Orders the first candidates of each ranking anew, by their texts.
            candidates: How many it scores, at least 1; the others stay behind them.
            instruction: The task, in place of the reranker's own; None: its own.

        Raises:
            EvaluationError: As :meth:`score_search`, or ``candidates`` is below 1.
            RecipeError: The reranker takes no instruction.
        """
        if candidates < 1:
            raise EvaluationError(f"candidates must be at least 1, got {candidates}")
        judged, covered, asked = self._asked()
        run = self._searched(search, asked)
        reranked: dict[str, list[str]] = {}
        seconds: dict[str, float] = {}
        is_warm = False
        for query, found in run.items():
            head = found[:candidates]
            text, texts = self.data.queries[query], [self.data.documents[one] for one in head]
            if head and not is_warm:  # the first call of a session also sets it up
                reranker.score(text, texts, instruction=instruction)
                is_warm = True
            started = time.perf_counter()
            scores = reranker.score(text, texts, instruction=instruction) if head else None
            order = [] if scores is None else best_first(scores)
            seconds[query] = time.perf_counter() - started
            reranked[query] = [head[place] for place in order] + found[candidates:]
        before, after = (
            self._measurements(one, judged, covered, self._written) for one in (run, reranked)
        )
        cost = measure(
            self.name,
            f"milliseconds per query to rerank {candidates}",
            _cases({query: 1_000 * one for query, one in seconds.items()}, judged, covered),
            mean_statistic,
            bootstrap=self.bootstrap,
            higher_is_better=False,
        )
        gain = measure_gain("nDCG@10 gained by reranking", before[0], after[0], ids=judged)
        return RerankedScores(
            before=before, after=after, gain=gain, cost=described(cost, unit=Unit.NUMBER)
        )

    def _asked(self) -> tuple[list[str], NDArray[np.bool_], list[str]]:
        """Return the ids of judged queries, which of them a searcher can be asked, and these.

        Raises:
            EvaluationError: There are none.
        """
        judged = list(self.data.judgements)
        covered = np.array(
            [bool(self.data.queries[q].strip() and self.data.relevant(q)) for q in judged]
        )
        asked = [query for query, kept in zip(judged, covered, strict=True) if kept]
        if not asked:
            raise EvaluationError(f"{self.name}: all of the {len(judged)} queries are blank")
        return judged, covered, asked

    def _searched(self, search: Searcher, asked: Sequence[str]) -> dict[str, list[str]]:
        run: dict[str, list[str]] = {}
        for query in asked:
            found = search(self.data.queries[query], limit=self.depth)
            run[query] = self._checked(query, found)
        return run

    @property
    def _written(self) -> NDArray[np.bool_]:
        return np.array([bool(text.strip()) for text in self._texts])

    @property
    def _texts(self) -> list[str]:
        return list(self.data.documents.values())

    def _checked(self, query: str, found: Sequence[tuple[str, float]]) -> list[str]:
        ids, scores = [id_ for id_, _ in found], [score for _, score in found]
        where = f"{self.name}: for the query {query!r} the searcher gave"
        if len(ids) > self.depth:
            raise EvaluationError(f"{where} {len(ids)} documents, asked for {self.depth}")
        if strange := [id_ for id_ in ids if id_ not in self.data.documents]:
            raise EvaluationError(f"{where} {strange[0]!r}, which is no document of the set")
        if len({*ids}) < len(ids):
            raise EvaluationError(f"{where} a document twice; give the best of its passages alone")
        if any(not before >= after for before, after in pairwise(scores)):
            raise EvaluationError(f"{where} scores that do not fall; give the best first")
        return ids

    def _measurements(
        self,
        run: dict[str, list[str]],
        judged: Sequence[str],
        covered: NDArray[np.bool_],
        findable: NDArray[np.bool_],
    ) -> tuple[Measurement, ...]:
        lost = len(findable) - int(findable.sum())
        note = f"{lost:,} of {len(findable):,} documents not embedded" if lost else ""
        measured = (
            measure(
                self.name,
                metric,
                _cases(per_query, judged, covered),
                mean_statistic,
                bootstrap=self.bootstrap,
            )
            for metric, per_query in _measured(self.data, run, depth=self.depth).items()
        )
        return tuple(replace(one, score=replace(one.score, note=note)) for one in measured)


def ranked(
    data: RetrievalSet, queries: Sequence[str], embedder: Embedder, *, depth: int
) -> dict[str, list[str]]:
    """Return the ids of the best documents, best first, for each of ``queries`` (ids).

    Documents are embedded block by block and dropped; equal cosines rank in the corpus's order.

    Raises:
        EvaluationError: No document can be embedded, or a vector has no direction.
    """
    ids = np.array(list(data.documents), dtype=object)
    texts = list(data.documents.values())
    kept = np.flatnonzero(known(embedder, texts))
    if not len(kept):
        raise EvaluationError(f"{data.name}: none of the {len(ids)} documents can be embedded")
    asked = unit_vectors(embedder, [data.queries[query] for query in queries], role=Role.QUERY)

    def blocks() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(kept), _BLOCK):
            part = [texts[number] for number in kept[start : start + _BLOCK]]
            yield unit_vectors(embedder, part, role=Role.PASSAGE)

    numbers, _ = nearest(asked, blocks(), depth=depth)
    return {query: list(ids[kept[row]]) for query, row in zip(queries, numbers, strict=True)}


def _measured(
    data: RetrievalSet, run: dict[str, list[str]], *, depth: int
) -> dict[str, dict[str, float]]:
    """Return each metric's value for each query."""
    metrics = {
        nDCG @ 10: "nDCG@10",
        R @ 100: "recall@100",
        RR @ 10: "MRR@10",
        AP: f"MAP@{depth}",
    }
    grades = {query: data.relevant(query) for query in run}
    # Falling ranks instead of cosines: trec_eval orders equal scores by document id, backwards.
    ranks = {
        query: {document: float(len(found) - place) for place, document in enumerate(found)}
        for query, found in run.items()
    }
    values: dict[str, dict[str, float]] = {name: {} for name in metrics.values()}
    for found in ir_measures.iter_calc(list(metrics), grades, ranks):
        values[metrics[found.measure]][found.query_id] = found.value
    return values


def _cases(per_query: dict[str, float], judged: Sequence[str], covered: NDArray[np.bool_]) -> Cases:
    found = np.zeros(len(judged))
    found[covered] = [per_query[q] for q, kept in zip(judged, covered, strict=True) if kept]
    return cases_of(np.zeros(len(judged)), found, covered=covered)
