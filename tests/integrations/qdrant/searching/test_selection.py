"""Choosing among candidates: against naive loops, and what chance must not do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from decant.evaluation.scores.statistics import Bootstrap, mean_statistic, paired_difference
from decant.integrations.qdrant import SelectionSettings, StoreInputError
from decant.integrations.qdrant.searching.selection import best, estimate_gain, held_out_gains

Scores = NDArray[np.float64]
TABLES = arrays(np.float64, (6, 3), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]))


def chosen_naively(scores: list[list[float]]) -> int:
    """Return the number of the column with the greatest sum, the first of equal ones."""
    sums = [sum(row[column] for row in scores) for column in range(len(scores[0]))]
    return sums.index(max(sums))


@given(TABLES)
def test_one_query_a_part_is_the_loop_that_leaves_one_out(scores: Scores) -> None:
    rows = scores.tolist()
    expected = []
    for place, row in enumerate(rows):
        others = rows[:place] + rows[place + 1 :]
        expected.append(row[chosen_naively(others)] - row[0])
    found = held_out_gains(scores, SelectionSettings(folds=100, repeats=2))
    assert found == pytest.approx(expected)


@given(TABLES, st.integers(0, 5))
def test_parts_of_several_queries_are_the_loop_over_divisions(scores: Scores, seed: int) -> None:
    rows, random = scores.tolist(), np.random.default_rng(seed)
    expected = [0.0] * len(rows)
    for _ in range(3):
        parts = [int(number) % 2 for number in random.permutation(len(rows))]
        for place, row in enumerate(rows):
            others = [rows[n] for n, part in enumerate(parts) if part != parts[place]]
            expected[place] += (row[chosen_naively(others)] - row[0]) / 3
    settings = SelectionSettings(folds=2, repeats=3, seed=seed)
    assert held_out_gains(scores, settings) == pytest.approx(expected)


def test_of_equal_candidates_the_first_is_chosen_and_nothing_is_gained() -> None:
    scores = np.repeat(np.random.default_rng(0).random((30, 1)), 5, axis=1)
    assert best(scores) == 0
    gain = estimate_gain(scores, SelectionSettings())
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)


def test_the_interval_is_that_of_the_paired_bootstrap() -> None:
    scores = np.random.default_rng(1).random((60, 2))
    scores[:, 1] += 0.5  # so that every part chooses it
    found = estimate_gain(scores, SelectionSettings(resamples=4000))
    other = paired_difference(
        mean_statistic,
        np.zeros(60),
        (scores[:, 0], scores[:, 1]),
        np.zeros(60, np.intp),
        settings=Bootstrap(resamples=4000, seed=9),
    )
    assert found.value == pytest.approx(other.value)
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.01)


def test_noise_looks_like_a_gain_only_on_the_queries_that_chose() -> None:
    """Of ten candidates that are equally good, the best on 50 queries is so by chance."""
    random, settings = np.random.default_rng(2), SelectionSettings(repeats=5, resamples=500)
    tables = [random.random((50, 10)) for _ in range(100)]
    apparent = [scores[:, best(scores)] - scores[:, 0] for scores in tables]
    assert np.mean(apparent) > 0.04
    lows = [one.mean() - 1.96 * one.std(ddof=1) / np.sqrt(50) for one in apparent]
    gains = [estimate_gain(scores, settings) for scores in tables]
    assert abs(np.mean([gain.value for gain in gains])) < 0.02
    assert sum(gain.low > 0 for gain in gains) < 0.75 * sum(low > 0 for low in lows)


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"repeats": 0}, {"level": 1.0}, {"seed": -1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(StoreInputError):
        SelectionSettings(**wrong)  # type: ignore[arg-type]
