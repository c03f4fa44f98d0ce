"""Which candidate explains a vector, against a loop, and shares with their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from decant.integrations.qdrant.adoption.explain import UNEXPLAINED, cosines, explain, wilson
from decant.integrations.qdrant.adoption.settings import Gate

GATE = Gate(cosine=0.9, tie=0.01)


@given(arrays(np.float64, (4, 9), elements=st.floats(-1, 1)))
def test_a_point_gets_a_candidate_that_reaches_the_gate_and_is_nearest_up_to_a_tie(
    found: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> None:
    for point, chosen in enumerate(explain(found, GATE).tolist()):
        best = max(found[:, point])
        if best < GATE.cosine:
            assert chosen == UNEXPLAINED
        else:
            assert found[chosen, point] >= max(GATE.cosine, best - GATE.tie)


def test_the_fewest_candidates_are_named() -> None:
    # The second explains all, the first only the short texts, which both give alike.
    found = np.array([[1.0, 1.0, 0.5, 0.5], [1.0, 1.0, 1.0, 1.0], [0.2, 0.2, 0.2, 1.0]])
    assert explain(found, GATE).tolist() == [1, 1, 1, 1]


def test_the_first_candidate_wins_where_two_explain_the_same() -> None:
    assert explain(np.array([[0.995, 1.0], [1.0, 0.995]]), GATE).tolist() == [0, 0]


def test_zeros_are_like_nothing() -> None:
    first = np.array([[0, 0], [3, 4]], np.float32)
    assert cosines(first, np.array([[1, 0], [6, 8]], np.float32)).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    # Table I of R. G. Newcombe 1998, Statistics in Medicine 17, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_those_of_the_literature(
    count: int, total: int, low: float, high: float
) -> None:
    assert wilson(count, total) == pytest.approx((low, high), abs=5e-5)
