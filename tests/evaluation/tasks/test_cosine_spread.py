"""The spread of all cosines and the separation of related pairs, against loops and counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from decant.embedders import HashEncoder
from decant.evaluation import EvaluationError, Separation, Spread, all_pairs
from decant.evaluation.tasks import cosine_spread
from decant.evaluation.tasks.cosine_spread import auroc_statistic, cohens_d_statistic
from written_vectors import Partial, Written


def cosines(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of every unordered pair, one by one."""
    unit = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.array([unit[i] @ unit[j] for i in range(len(rows)) for j in range(i)])


@pytest.mark.parametrize("count", [2, 3, 16, 17, 40])
def test_the_spread_is_that_of_every_pair_however_many_blocks_there_are(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cosine_spread, "_BLOCK", 16)
    rows = np.random.default_rng(count).normal(size=(count, 5)).astype(np.float32) * 3
    found = all_pairs(rows)
    each = cosines(rows)
    assert found.pairs == len(each)
    assert found.mean == pytest.approx(each.mean(), abs=1e-6)
    assert found.std == pytest.approx(each.std(), abs=1e-5)
    expected, _ = np.histogram(each, bins=found.edges)
    # A cosine within rounding of an edge may fall to either side.
    assert np.abs(np.cumsum(found.counts) - np.cumsum(expected)).max() <= 1
    assert found.counts.shape == (2000,)


def test_equal_and_opposite_rows_fall_into_the_outermost_bins() -> None:
    found = all_pairs(np.array([[1, 1, 1], [1, 1, 1], [-1, -1, -1]], np.float32))
    assert (found.counts[-1], found.counts[0], found.pairs) == (1, 2, 3)
    assert found.mean == pytest.approx(-1 / 3)


def test_pairs_need_two_rows_with_a_direction() -> None:
    with pytest.raises(EvaluationError, match="two rows or more, got 1"):
        all_pairs(np.eye(1, dtype=np.float32))
    with pytest.raises(EvaluationError, match="1 of 2 vectors have no direction"):
        all_pairs(np.array([[1, 0], [0, 0]], np.float32))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=12))
def test_auroc_counts_pairs_of_a_positive_and_a_negative(cases: list[tuple[bool, int]]) -> None:
    truth = np.array([float(label) for label, _ in cases])
    found = np.array([float(value) for _, value in cases])
    high, low = found[truth == 1], found[truth == 0]
    groups = np.zeros(len(cases), np.intp)
    if not len(high) or not len(low):
        with pytest.raises(EvaluationError, match="cases of label 1"):
            auroc_statistic(truth, found, groups)
        return
    wins = sum((one > two) + 0.5 * (one == two) for one in high for two in low)
    assert auroc_statistic(truth, found, groups) == pytest.approx(wins / len(high) / len(low))


def test_auroc_is_mann_and_whitneys_u() -> None:
    random = np.random.default_rng(1)
    high, low = random.normal(1, 1, 30), random.normal(0, 1, 50)
    truth = np.repeat([1.0, 0.0], [30, 50])
    expected = mannwhitneyu(high, low).statistic / (30 * 50)
    found = auroc_statistic(truth, np.concatenate([high, low]), np.zeros(80, np.intp))
    assert found == pytest.approx(expected)


def test_cohens_d_is_the_difference_of_means_in_pooled_deviations() -> None:
    # Means 4 and 2, both variances 4 (n - 1): d = 1.
    truth = np.array([1.0, 1, 1, 0, 0, 0])
    found = np.array([2.0, 4, 6, 0, 2, 4])
    groups = np.zeros(6, np.intp)
    assert cohens_d_statistic(truth, found, groups) == pytest.approx(1.0)
    with pytest.raises(EvaluationError, match="neither label's cosines vary"):
        cohens_d_statistic(truth, truth, groups)
    with pytest.raises(EvaluationError, match="1 and 3 cases"):
        cohens_d_statistic(truth[2:], found[2:], groups[2:])


def pairs(count: int) -> tuple[tuple[str, str], ...]:
    return tuple((f"left {number}", f"right {number}") for number in range(count))


def test_related_pairs_stand_apart_from_random_ones() -> None:
    # A hash encoder sees the shared number; the random pairs share none, or only a side.
    task = Separation(name="pairs", related=pairs(30), random_pairs=200)
    found = {one.score.metric: one.score for one in task.score(HashEncoder(dim=256))}
    assert list(found) == [
        "AUROC, related over random",
        "Cohen's d, related over random",
        "mean cosine, related",
        "mean cosine, random",
        "std of cosine, related",
        "std of cosine, random",
    ]
    shift = found["mean cosine, related"].value - found["mean cosine, random"].value
    assert shift > 0.1
    assert found["AUROC, related over random"].low > 0.5
    assert found["AUROC, related over random"].cases == 230


def test_random_pairs_are_never_related_and_never_a_word_with_itself() -> None:
    task = Separation(name="pairs", related=pairs(3), random_pairs=100)
    drawn = task._random()
    assert len(drawn) == 100
    taken = {frozenset(pair) for pair in task.related}
    assert all(one != two and frozenset((one, two)) not in taken for one, two in drawn)
    assert drawn == Separation(name="other", related=pairs(3), random_pairs=100)._random()
    assert drawn != Separation(name="pairs", related=pairs(3), random_pairs=100, seed=1)._random()


def test_words_without_an_unrelated_pair_are_refused() -> None:
    task = Separation(name="pairs", related=(("a", "b"), ("b", "c"), ("c", "a")))
    with pytest.raises(EvaluationError, match="3 words leave no unrelated pair"):
        task.score(Written({"a": (1, 0), "b": (0, 1), "c": (1, 1)}))
    with pytest.raises(EvaluationError, match="0 related"):
        Separation(name="none", related=())


def test_unknown_words_lower_the_coverage_of_a_separation() -> None:
    random = np.random.default_rng(0)
    known = {word: random.normal(size=4) for pair in pairs(6)[1:] for word in pair}
    found = Separation(name="pairs", related=pairs(6), random_pairs=60).score(Partial(known))[0]
    assert found.score.coverage < 1
    assert found.cases.covered[:6].tolist() == [False, True, True, True, True, True]


def test_a_spread_holds_its_edges() -> None:
    found = Spread(counts=np.zeros(2000, np.int64), mean=0.0, std=0.0).edges
    assert (len(found), found[0], found[1000], found[-1]) == (2001, -1.0, 0.0, 1.0)
