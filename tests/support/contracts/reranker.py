"""What every reranker has to do, whatever computes its scores.

Inherit from :class:`RerankerContract` in a test file and give it a ``reranker`` fixture. Its
recipe's ``max_tokens`` should be at most a few dozen: the contract fills it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from decant.embedders import RecipeError, Reranker, ScoreActivation, TextError

QUERY = "where does the river run"
PASSAGES = [
    "the river runs to the sea",
    "a hill",
    "where the river ends, nobody knows, and the boats lie still",
    "a hill",
    "the Q3 report: 17 % more",
    "stone " * 40,
]
CLOSE = 1e-4


class RerankerContract:
    """The tests; a subclass gives the reranker."""

    @pytest.fixture
    def reranker(self) -> Reranker:
        """Return the reranker under test."""
        raise NotImplementedError("a contract class needs its own `reranker` fixture")

    def test_no_passages_give_no_scores(self, reranker: Reranker) -> None:
        scores = reranker.score(QUERY, [])
        assert scores.shape == (0,)
        assert scores.dtype == np.float32
        assert reranker.score_pairs([]).shape == (0,)

    def test_each_passage_gets_one_finite_score(self, reranker: Reranker) -> None:
        scores = reranker.score(QUERY, PASSAGES)
        assert scores.shape == (len(PASSAGES),)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()

    def test_scores_come_in_the_order_of_the_passages(self, reranker: Reranker) -> None:
        forwards = reranker.score(QUERY, PASSAGES)
        backwards = reranker.score(QUERY, iter(PASSAGES[::-1]))
        assert np.abs(forwards - backwards[::-1]).max() < CLOSE
        assert np.ptp(forwards) > CLOSE

    def test_a_passage_alone_has_the_score_it_has_among_others(self, reranker: Reranker) -> None:
        crowd = reranker.score(QUERY, PASSAGES)
        alone = np.concatenate([reranker.score(QUERY, [text]) for text in PASSAGES])
        assert np.abs(crowd - alone).max() < CLOSE
        assert abs(float(crowd[1] - crowd[3])) < CLOSE, "equal passages have equal scores"

    def test_pairs_have_the_scores_of_their_queries(self, reranker: Reranker) -> None:
        queries = [QUERY, "stone", QUERY, "a report", "stone", QUERY]
        paired = reranker.score_pairs(zip(queries, PASSAGES, strict=True))
        apart = [
            float(reranker.score(query, [text])[0])
            for query, text in zip(queries, PASSAGES, strict=True)
        ]
        assert np.abs(paired - apart).max() < CLOSE

    def test_the_activation_changes_no_order(self, reranker: Reranker) -> None:
        raw = reranker.score(QUERY, PASSAGES, raw=True).astype(np.float64)
        scores = reranker.score(QUERY, PASSAGES)
        sigmoid = reranker.recipe.activation is ScoreActivation.SIGMOID
        wanted = 1 / (1 + np.exp(-raw)) if sigmoid else raw
        assert np.abs(scores - wanted).max() < CLOSE

    def test_the_end_of_a_long_passage_is_cut_and_the_query_is_kept(
        self, reranker: Reranker
    ) -> None:
        limit = reranker.recipe.max_tokens
        long = "stone " * limit
        scores = reranker.score(QUERY, [long, long + "river " * limit])
        assert abs(float(scores[0] - scores[1])) < CLOSE
        assert abs(float(reranker.score("a stone", [long])[0] - scores[0])) > 0

    @pytest.mark.parametrize("text", ["", None, 3, "\ud800"])
    def test_a_passage_that_is_no_text_is_refused_by_its_number(
        self, reranker: Reranker, text: object
    ) -> None:
        with pytest.raises(TextError, match="text 1 is"):
            reranker.score(QUERY, ["a hill", text])  # type: ignore[list-item]

    @pytest.mark.parametrize("query", ["", None, 3, "\ud800"])
    def test_a_query_that_is_no_text_is_refused(self, reranker: Reranker, query: object) -> None:
        with pytest.raises(TextError, match="query"):
            reranker.score(query, ["a hill"])  # type: ignore[arg-type]

    def test_one_string_instead_of_passages_is_refused(self, reranker: Reranker) -> None:
        with pytest.raises(TextError, match="one string"):
            reranker.score(QUERY, "a hill")

    def test_an_instruction_needs_its_place(self, reranker: Reranker) -> None:
        if reranker.recipe.pair.instruction is not None:
            pytest.skip("this reranker takes an instruction")
        with pytest.raises(RecipeError, match="no instruction"):
            reranker.score(QUERY, ["a hill"], instruction="Find rivers")

    def test_progress_counts_every_passage(self, reranker: Reranker) -> None:
        seen: list[int] = []
        reranker.score(QUERY, PASSAGES, progress=seen.append)
        assert sum(seen) == len(PASSAGES)

    def test_threads_get_the_scores_of_their_own_queries(self, reranker: Reranker) -> None:
        queries = [QUERY, "stone", "a report", "the sea"] * 3
        wanted = [reranker.score(query, PASSAGES) for query in queries]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda query: reranker.score(query, PASSAGES), queries))
        for one, other in zip(found, wanted, strict=True):
            assert np.abs(one - other).max() < CLOSE
