"""What a reranker is worth over a search: against a loop, losses by name, and its cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import HashReranker
from decant.evaluation import Bootstrap, EvaluationError, Retrieval, RetrievalSet
from decant.evaluation.scores.gain import measure_gain
from decant.evaluation.scores.measurement import Measurement, cases_of, measure
from decant.evaluation.scores.statistics import mean_statistic

FEW = Bootstrap(resamples=50)
DOCUMENTS = {
    "cat": "a cat sat",
    "mat": "the cat on a mat",
    "sea": "deep sea",
    "blank": " ",
    "rain": "rain falls",
}
DATA = RetrievalSet(
    name="made",
    documents=DOCUMENTS,
    queries={"won": "a cat sat", "lost": "deep sea", "same": "rain falls", "blank": " "},
    judgements={
        "won": {"cat": 1},
        "lost": {"mat": 1},
        "same": {"rain": 2},
        "blank": {"cat": 1},
    },
)
FOUND = {
    "a cat sat": ["sea", "cat", "mat", "rain"],
    "deep sea": ["mat", "sea", "cat"],
    "rain falls": ["rain", "sea"],
}


def search(query: str, *, limit: int) -> Sequence[tuple[str, float]]:
    return [(one, -float(place)) for place, one in enumerate(FOUND[query][:limit])]


def by_metric(measurements: Sequence[Measurement]) -> dict[str, Measurement]:
    return {one.score.metric: one for one in measurements}


@pytest.mark.parametrize("candidates", [1, 2, 50])
def test_the_measures_are_those_of_the_reordered_candidates(candidates: int) -> None:
    task = Retrieval(data=DATA, bootstrap=FEW)
    reranker = HashReranker()

    def reordered(query: str, *, limit: int) -> Sequence[tuple[str, float]]:
        found = FOUND[query][:limit]
        head = found[:candidates]
        score = {one: float(reranker.score(query, [DOCUMENTS[one]])[0]) for one in head}
        ids = sorted(head, key=lambda one: -score[one]) + found[candidates:]
        return [(one, -float(place)) for place, one in enumerate(ids)]

    scores = task.score_reranked(search, reranker, candidates=candidates)
    assert [one.score for one in scores.before] == [one.score for one in task.score_search(search)]
    assert [one.score for one in scores.after] == [
        one.score for one in task.score_search(reordered)
    ]


def test_the_gain_is_paired_and_names_its_losses() -> None:
    scores = Retrieval(data=DATA, bootstrap=FEW).score_reranked(search, HashReranker())
    before, after = (by_metric(one)["nDCG@10"].score for one in (scores.before, scores.after))
    gain = scores.gain.score
    assert gain.value == pytest.approx(after.value - before.value)
    assert gain.low <= gain.value <= gain.high
    assert (gain.cases, gain.coverage) == (3, 0.75)
    # Two documents share a query's words, or a place is lost: from 1 to 1 / log2(3) or 1 / log2(4).
    assert gain.note.startswith("1 better, 1 worse (lost -")
    assert gain.note.endswith(", 1 equal")


def test_the_cost_is_in_milliseconds_per_query() -> None:
    scores = Retrieval(data=DATA, bootstrap=FEW).score_reranked(search, HashReranker())
    cost = scores.cost.score
    assert cost.metric == "milliseconds per query to rerank 50"
    assert 0 < cost.value < 1_000
    assert not cost.higher_is_better
    assert cost.unit.shown(1234.5) == "1,234.50"


def test_only_the_candidates_are_scored() -> None:
    asked: list[int] = []

    class Counted(HashReranker):
        def score(self, query: str, texts: Iterable[str], **options: Any) -> NDArray[np.float32]:
            held = list(texts)
            asked.append(len(held))
            return super().score(query, held, **options)

    Retrieval(data=DATA, bootstrap=FEW).score_reranked(search, Counted(), candidates=2)
    assert asked == [2, 2, 2, 2], "the first query once more, so that no set-up is timed"


def test_an_instruction_reaches_the_reranker() -> None:
    asked: list[object] = []

    class Told(HashReranker):
        def score(self, query: str, texts: Iterable[str], **options: Any) -> NDArray[np.float32]:
            asked.append(options.pop("instruction"))
            return super().score(query, texts, **options)

    Retrieval(data=DATA, bootstrap=FEW).score_reranked(search, Told(), instruction="find")
    assert asked
    assert {*asked} == {"find"}


def test_a_search_that_finds_nothing_needs_no_reranker() -> None:
    def nothing(query: str, *, limit: int) -> list[tuple[str, float]]:
        assert query
        assert limit
        return []

    scores = Retrieval(data=DATA, bootstrap=FEW).score_reranked(nothing, HashReranker())
    assert scores.gain.score.value == 0
    assert scores.cost.score.value < 1


def test_no_candidates_are_refused() -> None:
    with pytest.raises(EvaluationError, match="candidates must be at least 1"):
        Retrieval(data=DATA).score_reranked(search, HashReranker(), candidates=0)


def test_many_losses_are_counted_and_the_worst_are_named() -> None:
    def measured(values: Sequence[float]) -> Measurement:
        found = np.array(values)
        return measure("x", "m", cases_of(found, found), mean_statistic, bootstrap=FEW)

    before = measured([0.5] * 9)
    after = measured([0.9, 0.5, 0.4, 0.1, 0.3, 0.2, 0.0, 0.45, 0.5])
    gain = measure_gain("gain", before, after, ids=[f"q{number}" for number in range(9)])
    assert gain.score.note == (
        "1 better, 6 worse (q6 -50.0, q3 -40.0, q5 -30.0, q4 -20.0, q2 -10.0 and 1 more), 2 equal"
    )
    # The interval is that of differences: it is narrower than those of the values apart.
    drawn = np.random.default_rng(1).normal(size=200)
    one, two = measured(drawn.tolist()), measured((drawn + 0.1).tolist())
    paired = measure_gain("gain", one, two, ids=["q"] * 200).score
    assert paired.high - paired.low < 1e-9 < one.score.high - one.score.low
