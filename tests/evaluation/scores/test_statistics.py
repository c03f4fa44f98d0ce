"""Correlations against loops over pairs, and the bootstrap against SciPy's and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import bootstrap as scipy_bootstrap

from decant.evaluation import Bootstrap, EvaluationError
from decant.evaluation.scores.statistics import (
    BOOTSTRAP,
    interval,
    kendall,
    macro_mean_statistic,
    mean_spearman_statistic,
    mean_statistic,
    paired_difference,
    spearman,
    spearman_statistic,
)

Floats = NDArray[np.float64]


def few_values() -> st.SearchStrategy[Floats]:
    return arrays(np.float64, 9, elements=st.integers(-3, 3).map(float))


def ranks(values: Floats) -> list[float]:
    """Return one plus the number of smaller values, ties in the middle of their places."""
    return [
        1 + sum(other < one for other in values) + (sum(other == one for other in values) - 1) / 2
        for one in values
    ]


def one_group(values: Floats) -> NDArray[np.intp]:
    return np.zeros(len(values), np.intp)


@given(few_values(), few_values())
def test_spearman_is_the_correlation_of_ranks(first: Floats, second: Floats) -> None:
    assume(len(set(first)) > 1 and len(set(second)) > 1)
    one, two = np.array(ranks(first)), np.array(ranks(second))
    one, two = one - one.mean(), two - two.mean()
    expected = float(one @ two) / float(np.sqrt((one @ one) * (two @ two)))
    assert spearman(first, second) == pytest.approx(expected, abs=1e-12)


@given(few_values(), few_values())
def test_kendall_counts_pairs_that_agree(first: Floats, second: Floats) -> None:
    assume(len(set(first)) > 1 and len(set(second)) > 1)
    signs = [
        (np.sign(first[i] - first[j]), np.sign(second[i] - second[j]))
        for i in range(len(first))
        for j in range(i)
    ]
    agreement = sum(one * two for one, two in signs)
    untied = [sum(abs(pair[side]) for pair in signs) for side in (0, 1)]
    expected = agreement / np.sqrt(untied[0] * untied[1])
    assert kendall(first, second) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "complaint"),
    [
        ([1, 1, 1], [1, 2, 3], "constant"),
        ([1, 2, 3], [7, 7, 7], "all 3 values are 7.0"),
        ([1, np.nan, 3], [1, 2, 3], "value number 1 is nan"),
        ([1, 2, np.inf], [1, 2, 3], "value number 2 is inf"),
        ([1], [1], "two cases or more, got 1"),
        ([1, 2], [1, 2, 3], r"shapes \(2,\) and \(3,\)"),
    ],
)
@pytest.mark.parametrize("correlation", [spearman, kendall])
def test_a_correlation_that_is_not_defined_is_an_error(
    correlation: object, first: list[float], second: list[float], complaint: str
) -> None:
    assert callable(correlation)
    with pytest.raises(EvaluationError, match=complaint):
        correlation(np.array(first, float), np.array(second, float))


def test_means_over_groups_weigh_every_group_alike() -> None:
    found = np.array([1.0, 1.0, 1.0, 0.0])
    groups = np.array([0, 0, 0, 5])
    assert mean_statistic(found, found, groups) == 0.75
    assert macro_mean_statistic(found, found, groups) == 0.5


def test_the_mean_over_sets_is_not_the_correlation_of_all_pairs() -> None:
    truth = np.array([1.0, 2, 3, 1, 2, 3])
    found = np.array([0.1, 0.2, 0.9, 0.8, 0.7, 0.3])
    groups = np.array([0, 0, 0, 1, 1, 1])
    # Ranks 1 2 6 and 5 4 3 against 1.5 3.5 5.5 twice: squares 17.5 and 16, product 6.
    assert mean_spearman_statistic(truth, found, groups) == pytest.approx(0)
    assert spearman_statistic(truth, found, groups) == pytest.approx(6 / np.sqrt(17.5 * 16))


def test_the_interval_agrees_with_that_of_scipy() -> None:
    random = np.random.default_rng(5)
    truth = random.normal(size=200)
    found = truth + random.normal(size=200)
    ours = interval(
        spearman_statistic, truth, found, one_group(truth), settings=Bootstrap(resamples=2000)
    )
    theirs = scipy_bootstrap(
        (truth, found),
        spearman,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=3,
    ).confidence_interval
    # Two seeds of 2000 resamples: the ends themselves vary by about 0.005.
    assert ours.low == pytest.approx(theirs.low, abs=0.02)
    assert ours.high == pytest.approx(theirs.high, abs=0.02)


def test_ninety_five_percent_intervals_hold_the_truth_about_that_often() -> None:
    random = np.random.default_rng(11)
    settings = Bootstrap(resamples=300)
    held = 0
    for _ in range(200):
        drawn = random.normal(loc=3.0, size=60)
        ends = interval(mean_statistic, drawn, drawn, one_group(drawn), settings=settings)
        held += ends.low <= 3.0 <= ends.high
    assert 180 <= held <= 200  # binomial: 190 +- 3 x 3.1


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(0).normal(size=50)
    arguments = mean_statistic, values, values, one_group(values)
    first = interval(*arguments, settings=BOOTSTRAP)
    assert first == interval(*arguments, settings=BOOTSTRAP)
    assert first != interval(*arguments, settings=Bootstrap(seed=1))


def test_cases_are_drawn_inside_their_group() -> None:
    sizes: list[list[int]] = []

    def watching(truth: Floats, _found: Floats, groups: NDArray[np.intp]) -> float:
        sizes.append(np.bincount(groups).tolist())
        return float(truth.mean())

    values = np.arange(7.0)
    interval(watching, values, values, np.array([0, 0, 1, 1, 1, 1, 2]), settings=BOOTSTRAP)
    assert sizes == [[2, 4, 1]] * 1000


def test_too_few_cases_for_an_interval_is_an_error() -> None:
    truth = np.array([1.0, 1.0, 2.0])
    found = np.array([0.1, 0.1, 0.9])
    with pytest.raises(EvaluationError, match="2 cases are too few for an interval"):
        interval(
            spearman_statistic,
            truth[1:],
            found[1:],
            one_group(truth[1:]),
            settings=BOOTSTRAP,
        )


def test_undefined_resamples_are_drawn_again() -> None:
    truth = np.array([1.0, 2, 3, 4])
    ends = interval(spearman_statistic, truth, truth, one_group(truth), settings=BOOTSTRAP)
    assert (ends.low, ends.high) == (1.0, 1.0)


def test_an_encoder_does_not_differ_from_itself() -> None:
    found = np.random.default_rng(0).normal(size=40)
    same = paired_difference(
        mean_statistic, found, (found, found), one_group(found), settings=BOOTSTRAP
    )
    assert (same.value, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_a_small_gain_in_every_case_is_seen_though_the_intervals_overlap() -> None:
    found = np.random.default_rng(0).uniform(size=50)
    better = found + 0.01
    groups = one_group(found)
    seen = paired_difference(mean_statistic, found, (found, better), groups, settings=BOOTSTRAP)
    assert seen.value == pytest.approx(0.01)
    assert seen.low > 0
    assert seen.p_value == pytest.approx(2 / 1001)
    alone = [
        interval(mean_statistic, part, part, groups, settings=BOOTSTRAP) for part in (found, better)
    ]
    assert alone[0].high > alone[1].low


def test_p_values_of_no_difference_are_spread_evenly() -> None:
    random = np.random.default_rng(2)
    settings = Bootstrap(resamples=200)
    small = 0
    for _ in range(200):
        pair = random.normal(size=40), random.normal(size=40)
        found = paired_difference(
            mean_statistic, pair[0], pair, one_group(pair[0]), settings=settings
        )
        assert found.p_value is not None
        small += found.p_value < 0.2
    assert 20 <= small <= 64  # 40 expected, +- 4 x 5.7


@pytest.mark.parametrize("settings", [{"resamples": 0}, {"level": 0.0}, {"level": 1.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(EvaluationError, match="resamples must be positive"):
        Bootstrap(**settings)  # type: ignore[arg-type]
