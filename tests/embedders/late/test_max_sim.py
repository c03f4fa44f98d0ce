"""MaxSim and pooling of token vectors against naive loops and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import TextError, max_sim, pool_tokens
from decant.embedders.late.max_sim import max_sims


def unit_rows(count: int, *, width: int = 16, seed: int = 0) -> NDArray[np.float32]:
    """Return random vectors of unit length."""
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def naive(query: NDArray[np.float32], passage: NDArray[np.float32]) -> float:
    """Return the sum over query tokens of the largest product, in plain Python."""
    total = 0.0
    for one in query.tolist():
        total += max(
            sum(a * b for a, b in zip(one, other, strict=True)) for other in passage.tolist()
        )
    return total


def test_max_sim_is_the_sum_of_the_largest_products() -> None:
    query = unit_rows(5)
    passages = [unit_rows(count, seed=count) for count in (1, 2, 7, 30)]
    expected = [naive(query, passage) for passage in passages]
    assert max_sims(query, passages) == pytest.approx(expected, abs=1e-5)
    assert [max_sim(query, passage) for passage in passages] == pytest.approx(expected, abs=1e-5)


def test_the_length_of_its_neighbours_changes_no_score() -> None:
    """Passages fill one product, go over it, and are longer than it by themselves."""
    query = unit_rows(3)
    passages = [unit_rows(count, seed=count) for count in (1_023, 1, 2, 1_500, 5, 1_024, 3)]
    expected = [float((query @ passage.T).max(axis=1).sum()) for passage in passages]
    assert max_sims(query, passages) == pytest.approx(expected, abs=1e-5)


def test_max_sims_of_no_passages_are_none() -> None:
    assert max_sims(unit_rows(3), []).shape == (0,)


@pytest.mark.parametrize("passage", [unit_rows(0), unit_rows(2, width=8)], ids=["none", "width"])
def test_token_vectors_that_cannot_be_compared_are_refused(passage: NDArray[np.float32]) -> None:
    with pytest.raises(TextError, match="passage 0"):
        max_sim(unit_rows(3), passage)


@pytest.mark.parametrize("most", [1, 7, 39])
def test_pooling_is_scipys_ward_clustering(most: int) -> None:
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    distance = pytest.importorskip("scipy.spatial.distance")
    rows = unit_rows(40)
    apart = np.clip(1 - rows @ rows.T, 0, 2)
    np.fill_diagonal(apart, 0)
    tree = hierarchy.linkage(distance.squareform(apart, checks=False), "ward")
    labels = hierarchy.fcluster(tree, most, "maxclust")
    means = [rows[labels == label].mean(axis=0) for label in dict.fromkeys(labels.tolist())]
    expected = np.array([mean / np.linalg.norm(mean) for mean in means])
    found = pool_tokens(rows, most)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5


def test_few_token_vectors_stay_as_they_are() -> None:
    rows = unit_rows(4)
    assert pool_tokens(rows, 4) is rows
    with pytest.raises(TextError, match="at least 1"):
        pool_tokens(rows, 0)
