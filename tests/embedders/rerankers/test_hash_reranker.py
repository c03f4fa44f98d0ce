"""The reranker without a model: the contract, and that it ranks as a reader would."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from contracts.reranker import RerankerContract
from decant.embedders import HashReranker, Reranker, best_first


class TestContract(RerankerContract):
    @pytest.fixture
    def reranker(self) -> Reranker:
        return HashReranker(max_tokens=24)


def test_what_answers_the_query_comes_first() -> None:
    passages = ["a stone", "the river runs through the valley", "a river"]
    scores = HashReranker().score("where does the river run", passages)
    assert best_first(scores) == [1, 2, 0]


def test_of_equal_passages_the_shorter_comes_first() -> None:
    scores = HashReranker().score("river", ["a long way to the river", "river"])
    assert best_first(scores) == [1, 0]


def test_a_copy_of_another_process_scores_equally() -> None:
    made = HashReranker(max_tokens=7)
    copy = pickle.loads(pickle.dumps(made))
    assert copy.recipe == made.recipe
    passages = ["a b c d e f g h", "h"]
    assert np.array_equal(copy.score("h", passages), made.score("h", passages))


def test_equal_scores_keep_their_order() -> None:
    assert best_first(np.array([0, 1, 0, 1], np.float32)) == [1, 3, 0, 2]
