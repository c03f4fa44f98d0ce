"""Pooling against a naive loop, for any mask and either padding side."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from decant.embedders import Pooling
from decant.embedders.pytorch.pooling import pool, token_weights

WIDTH = 3


def naive(states: NDArray[np.float32], mask: NDArray[np.int64], pooling: Pooling) -> list[float]:
    """One row, in plain Python."""
    counted = [states[t].astype(np.float64) for t in range(len(mask)) if mask[t]]
    match pooling:
        case Pooling.MEAN:
            return list(np.sum(counted, axis=0) / len(counted))
        case Pooling.MEAN_SQRT:
            return list(np.sum(counted, axis=0) / math.sqrt(len(counted)))
        case Pooling.WEIGHTED_MEAN:
            ranks = range(1, len(counted) + 1)
            weighted = [rank * state for rank, state in zip(ranks, counted, strict=True)]
            return list(np.sum(weighted, axis=0) / sum(ranks))
        case Pooling.FIRST:
            return list(counted[0])
        case Pooling.LAST:
            return list(counted[-1])
        case Pooling.MAX:
            return [max(state[d] for state in counted) for d in range(WIDTH)]


@st.composite
def rows(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw states (B, T, D) and a mask (B, T) with at least one token a row, holes allowed."""
    count, length = draw(st.integers(1, 4)), draw(st.integers(1, 7))
    values = st.floats(-50, 50, width=32)
    states = draw(arrays.arrays(np.float32, (count, length, WIDTH), elements=values))
    mask = draw(arrays.arrays(np.int64, (count, length), elements=st.integers(0, 1)))
    for row in range(count):
        mask[row, draw(st.integers(0, length - 1))] = 1
    return states, mask


@given(rows(), st.sampled_from(Pooling))
def test_pooling_equals_a_naive_loop_for_any_mask(
    drawn: tuple[NDArray[np.float32], NDArray[np.int64]], pooling: Pooling
) -> None:
    states, mask = drawn
    found = pool(torch.from_numpy(states), torch.from_numpy(mask), pooling).numpy()
    expected = [naive(states[row], mask[row], pooling) for row in range(len(mask))]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@given(rows(), st.sampled_from(Pooling), st.integers(0, 4), st.booleans())
def test_pooling_ignores_padding_on_either_side_whatever_it_holds(
    drawn: tuple[NDArray[np.float32], NDArray[np.int64]], pooling: Pooling, padding: int, left: bool
) -> None:
    states, mask = drawn
    sides = (padding, 0) if left else (0, padding)
    padded = np.pad(states, ((0, 0), sides, (0, 0)), constant_values=np.nan)
    shown = np.pad(mask, ((0, 0), sides))
    found = pool(torch.from_numpy(padded), torch.from_numpy(shown), pooling)
    plain = pool(torch.from_numpy(states), torch.from_numpy(mask), pooling)
    np.testing.assert_allclose(found.numpy(), plain.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", Pooling)
def test_pooling_changes_neither_states_nor_mask(pooling: Pooling) -> None:
    states, mask = torch.ones(2, 3, WIDTH), torch.tensor([[1, 1, 0], [0, 1, 0]])
    before = states.clone(), mask.clone()
    pool(states, mask, pooling)
    assert torch.equal(states, before[0])
    assert torch.equal(mask, before[1])


@pytest.mark.parametrize("pooling", [item for item in Pooling if item is not Pooling.MAX])
def test_half_precision_states_are_summed_in_float32(pooling: Pooling) -> None:
    states = torch.full((1, 4000, 1), 100.0, dtype=torch.float16)
    found = pool(states, torch.ones(1, 4000, dtype=torch.int64), pooling)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()  # 4000 x 100 overflows float16


def test_a_row_without_tokens_weighs_nothing_instead_of_dividing_by_zero() -> None:
    weights = token_weights(torch.zeros(1, 3, dtype=torch.int64), Pooling.MEAN)
    assert weights.tolist() == [[0.0, 0.0, 0.0]]


def test_max_pooling_has_no_weights() -> None:
    with pytest.raises(ValueError, match="pool"):
        token_weights(torch.ones(1, 3, dtype=torch.int64), Pooling.MAX)
