"""Our maximal marginal relevance against LangChain's own, which is a readable loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from numpy.typing import NDArray

from decant.embedders import StoreError
from decant.integrations.qdrant import MMR
from decant.integrations.qdrant.searching.mmr import cosines, diverse, scaled


def drawn(seed: int, rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A query and candidates around it, as real results are."""
    random = np.random.default_rng(seed)
    query = random.standard_normal(6).astype(np.float32)
    return query, (query + random.standard_normal((rows, 6))).astype(np.float32)


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 14), st.floats(0, 1))
def test_the_picks_are_those_of_langchains_loop(
    seed: int, rows: int, count: int, balance: float
) -> None:
    query, found = drawn(seed, rows)
    theirs = maximal_marginal_relevance(query, found.tolist(), lambda_mult=balance, k=count)
    assert diverse(cosines(query, found), found, count=count, balance=balance) == theirs


def test_balance_one_is_the_order_of_relevance() -> None:
    query, found = drawn(3, 9)
    cosine = found @ query / np.linalg.norm(found, axis=1)
    assert (
        diverse(cosines(query, found), found, count=9, balance=1.0) == np.argsort(-cosine).tolist()
    )


def test_nothing_found_gives_no_picks() -> None:
    assert diverse(np.ones(0), np.zeros((0, 2), np.float32), count=3, balance=0.5) == []
    assert scaled(np.zeros(0)).tolist() == []


def test_a_count_of_zero_gives_no_picks() -> None:
    assert diverse(np.ones(2), np.ones((2, 2), np.float32), count=0, balance=0.5) == []


@pytest.mark.parametrize("balance", [-0.1, 1.1, float("nan")])
def test_a_balance_outside_of_zero_to_one_is_refused(balance: float) -> None:
    with pytest.raises(StoreError, match="balance of relevance and variety"):
        MMR(balance=balance)


def test_the_candidates_are_not_changed() -> None:
    query, found = drawn(5, 4)
    before = found.copy()
    diverse(cosines(query, found), found, count=3, balance=0.3)
    assert np.array_equal(found, before)
