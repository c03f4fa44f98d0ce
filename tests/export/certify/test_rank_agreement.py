"""Kendall's tau equals scipy's, and nDCG falls with what is lost at the top."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from decant.export.certify.rank_agreement import kendall_tau, largest_inversion, ndcg_loss

_scores = st.lists(st.integers(0, 6), min_size=2, max_size=12)


@given(st.data())
def test_tau_is_scipys(data: st.DataObject) -> None:
    first = data.draw(_scores)
    second = data.draw(st.lists(st.integers(0, 6), min_size=len(first), max_size=len(first)))
    scipys: Any = kendalltau(first, second)
    expected = float(scipys.statistic)
    found = kendall_tau(np.array(first, np.float32), np.array(second, np.float32))
    assert found == pytest.approx(1.0 if np.isnan(expected) else expected)


@given(_scores)
def test_the_references_own_order_loses_nothing(values: list[int]) -> None:
    scores = np.array(values, np.float32)
    assert ndcg_loss(scores, scores) == pytest.approx(0)
    assert ndcg_loss(2 * scores + 1, scores) == pytest.approx(0)


def test_a_swap_at_the_top_costs_more_than_one_at_the_end() -> None:
    reference = np.arange(6, 0, -1).astype(np.float32)
    top, end = reference.copy(), reference.copy()
    top[[0, 1]] = top[[1, 0]]
    end[[4, 5]] = end[[5, 4]]
    assert ndcg_loss(top, reference) > ndcg_loss(end, reference) > 0


def test_the_loss_is_that_of_the_formula() -> None:
    # Gains 1, 2/3, 1/3; the order is the last, the first, the second.
    reference, scores = (np.array(values, np.float32) for values in ([3, 2, 1], [2, 1, 3]))
    discounts = [1, 1 / np.log2(3), 0.5]
    found = 1 / 3 * discounts[0] + discounts[1] + 2 / 3 * discounts[2]
    best = discounts[0] + 2 / 3 * discounts[1] + 1 / 3 * discounts[2]
    assert ndcg_loss(scores, reference) == pytest.approx(1 - found / best)


@given(st.data())
def test_the_largest_inversion_is_that_of_two_loops(data: st.DataObject) -> None:
    exact = data.draw(_scores)
    given_ = data.draw(st.lists(st.integers(0, 6), min_size=len(exact), max_size=len(exact)))
    apart = [
        better - worse
        for better, first in zip(exact, given_, strict=True)
        for worse, second in zip(exact, given_, strict=True)
        if better > worse and first < second
    ]
    found = largest_inversion(np.array(given_, np.float32), np.array(exact, np.float32))
    assert found == max(apart, default=0)
