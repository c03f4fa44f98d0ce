"""Retrieval of what a searcher finds: the same measures as of an exact ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from decant.embedders import HashEncoder
from decant.evaluation import Bootstrap, EvaluationError, Retrieval, RetrievalSet, compare
from decant.evaluation.tasks.retrieval import ranked

FEW = Bootstrap(resamples=20)
WORDS = ["red", "blue", "green", "cat", "dog", "sea"]


def data(**queries: str) -> RetrievalSet:
    """Return a set whose documents are two words each; the first document answers every query."""
    documents = {f"{one}-{two}": f"{one} {two}" for one in WORDS for two in WORDS if one != two}
    return RetrievalSet(
        name="made",
        documents=documents,
        queries=queries,
        judgements={query: {"red-blue": 1, "cat-dog": 2} for query in queries},
    )


@dataclass
class Given:
    """Finds the same for every query, and remembers these."""

    found: Sequence[tuple[str, float]]
    asked: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, query: str, *, limit: int) -> Sequence[tuple[str, float]]:
        self.asked.append((query, limit))
        return self.found


def test_a_searcher_that_ranks_as_the_embedder_scores_as_it_does() -> None:
    encoder = HashEncoder(64)
    task = Retrieval(data=data(q="red cat", r="blue sea"), bootstrap=FEW)
    texts = {text: query for query, text in task.data.queries.items()}

    def search(query: str, *, limit: int) -> Sequence[tuple[str, float]]:
        run = ranked(task.data, [texts[query]], encoder, depth=limit)
        return [(id_, -float(rank)) for rank, id_ in enumerate(run[texts[query]])]

    exact, searched = task.score(encoder), task.score_search(search)
    for one, other in zip(exact, searched, strict=True):
        assert one.score == other.score
        assert compare(one, other).difference.value == 0


def test_what_is_not_found_counts_as_missed() -> None:
    task = Retrieval(data=data(q="x", r="y"), bootstrap=FEW)
    search = Given([("sea-dog", 3.0), ("cat-dog", 1.0)])
    values = {one.score.metric: one.score.value for one in task.score_search(search)}
    assert search.asked == [("x", 1000), ("y", 1000)]
    ideal = 2 + 1 / np.log2(3)
    assert values["nDCG@10"] == pytest.approx(2 / np.log2(3) / ideal)
    assert values["recall@100"] == 0.5
    assert values["MRR@10"] == 0.5
    assert values["MAP@1000"] == 0.25
    nothing = task.score_search(Given([]))
    assert [one.score.value for one in nothing] == [0, 0, 0, 0]


def test_blank_queries_are_not_asked_and_lower_the_coverage() -> None:
    task = Retrieval(data=data(q="x", r="  "), bootstrap=FEW)
    search = Given([("red-blue", 1.0)])
    first, *_ = task.score_search(search)
    assert [query for query, _ in search.asked] == ["x"]
    assert first.score.coverage == 0.5
    with pytest.raises(EvaluationError, match="all of the 1 queries are blank"):
        Retrieval(data=data(r=" "), bootstrap=FEW).score_search(search)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([("nothing", 1.0)], "'nothing', which is no document"),
        ([("red-blue", 1.0), ("red-blue", 0.5)], "a document twice"),
        ([("red-blue", 1.0), ("red-cat", 2.0)], "scores that do not fall"),
        ([("red-blue", float("nan")), ("red-cat", 2.0)], "scores that do not fall"),
        ([("red-blue", 1.0)] * 101, "101 documents, asked for 100"),
    ],
)
def test_what_is_no_ranking_is_refused(found: list[tuple[str, float]], said: str) -> None:
    task = Retrieval(data=data(q="x"), depth=100, bootstrap=FEW)
    with pytest.raises(EvaluationError, match=f"for the query 'q' the searcher gave {said}"):
        task.score_search(Given(found))
