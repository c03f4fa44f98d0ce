"""Losses against loops that anyone can read, limits and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from decant.training.objectives.losses import (
    cosent,
    flops,
    improved_info_nce,
    info_nce,
    matryoshka,
    score_divergence,
    spread_out,
    vector_distance,
)

T = 0.3
sizes = st.tuples(st.integers(1, 5), st.integers(0, 4), st.integers(2, 4), st.integers(0, 10**6))


def cosine(first: Tensor, second: Tensor) -> float:
    return float(
        first.double() @ second.double() / (first.double().norm() * second.double().norm())
    )


def drawn(count: int, negatives: int, width: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(count, width, generator=generator)
    passages = torch.randn(count + negatives, width, generator=generator)
    excluded = torch.rand(count, count + negatives, generator=generator) < 0.3
    return queries, passages, excluded


@given(sizes)
def test_info_nce_is_the_loop_of_its_formula(size: tuple[int, int, int, int]) -> None:
    queries, passages, excluded = drawn(*size)
    total = 0.0
    for i in range(len(queries)):
        own = math.exp(cosine(queries[i], passages[i]) / T)
        below = own
        for p in range(len(passages)):
            if p != i and not excluded[i, p]:
                below += math.exp(cosine(queries[i], passages[p]) / T)
        total -= math.log(own / below)
    found = info_nce(queries, passages, temperature=T, excluded=excluded)
    assert float(found) == pytest.approx(total / len(queries), abs=1e-5)


@given(sizes)
def test_the_improved_loss_is_the_loop_of_its_formula(size: tuple[int, int, int, int]) -> None:
    queries, passages, excluded = drawn(*size)
    count, margin, total = len(queries), 0.1, 0.0
    for i in range(count):
        near = cosine(queries[i], passages[i])
        own = math.exp(near / T)
        below = own
        others = [
            (cosine(queries[i], passages[p]), bool(excluded[i, p]))
            for p in range(len(passages))
            if p != i
        ]
        for j in range(count):
            if j != i:
                others.append((cosine(queries[i], queries[j]), False))
                others.append((cosine(passages[i], passages[j]), bool(excluded[i, j])))
        for similarity, left_out in others:
            if not left_out and similarity <= near + margin:
                below += math.exp(similarity / T)
        total -= math.log(own / below)
    found = improved_info_nce(queries, passages, temperature=T, margin=margin, excluded=excluded)
    assert float(found) == pytest.approx(total / count, abs=1e-4)


def test_equal_pairs_at_a_low_temperature_leave_no_loss() -> None:
    rows = torch.eye(6)
    assert float(info_nce(rows, rows, temperature=0.01)) == pytest.approx(0, abs=1e-6)
    # The mask does not take these for false negatives, so the terms are there, and are nothing.
    assert float(improved_info_nce(rows, rows, temperature=0.01)) == pytest.approx(0, abs=1e-6)


def test_one_pair_alone_teaches_nothing() -> None:
    query, passage = torch.randn(1, 4, requires_grad=True), torch.randn(1, 4)
    loss = info_nce(query, passage, temperature=T)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert query.grad is not None
    assert float(query.grad.abs().max()) == 0


def test_a_step_down_the_gradient_brings_a_pair_together() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(4, 8, generator=generator, requires_grad=True)
    passages = torch.randn(4, 8, generator=generator)
    before = info_nce(queries, passages, temperature=T)
    (gradient,) = torch.autograd.grad(before, queries)
    after = info_nce(queries - 0.1 * gradient, passages, temperature=T)
    assert after.item() < before.item()


@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 3)), min_size=1, max_size=7))
def test_cosent_is_the_loop_of_its_formula(pairs: list[tuple[float, int]]) -> None:
    total = 1.0
    for near_i, score_i in pairs:
        for near_j, score_j in pairs:
            if score_i < score_j:
                total += math.exp((near_i - near_j) / T)
    cosines = torch.tensor([near for near, _ in pairs], dtype=torch.float64)
    scores = torch.tensor([float(score) for _, score in pairs])
    assert float(cosent(cosines, scores, temperature=T)) == pytest.approx(math.log(total), abs=1e-4)


def test_scores_that_are_equal_leave_cosent_nothing_to_do() -> None:
    near = torch.tensor([0.1, 0.9], requires_grad=True)
    loss = cosent(near, torch.ones(2))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert near.grad is not None
    assert near.grad.tolist() == [0, 0]


def test_a_student_that_gives_what_its_teacher_gives_has_no_loss() -> None:
    rows = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert float(vector_distance(3 * rows, rows)) == pytest.approx(0, abs=1e-7)
    assert float(score_divergence(rows, rows, temperature=T)) == pytest.approx(0, abs=1e-6)


def test_the_distance_of_vectors_is_that_of_their_angles() -> None:
    first, second = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert float(vector_distance(first, second)) == pytest.approx(1.0)
    assert float(vector_distance(first, -first)) == pytest.approx(2.0)


def test_the_divergence_of_scores_is_the_sum_of_its_formula() -> None:
    students, teachers = torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 0.0]])
    wanted = [math.exp(2 / T), 1.0]
    given_ = [1.0, math.exp(1 / T)]
    p = [one / sum(wanted) for one in wanted]
    q = [one / sum(given_) for one in given_]
    total = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    found = score_divergence(students, teachers, temperature=T)
    assert float(found) == pytest.approx(total, rel=1e-5)


def test_flops_are_the_squares_of_mean_weights() -> None:
    assert float(flops(torch.tensor([[1.0, 0.0, 4.0], [3.0, 0.0, 0.0]]))) == 4 + 0 + 4


def test_vectors_at_right_angles_are_spread_out() -> None:
    assert float(spread_out(torch.eye(4))) == pytest.approx(0, abs=1e-7)
    assert float(spread_out(torch.ones(4, 3))) == pytest.approx(1)
    assert float(spread_out(torch.ones(1, 3))) == 0


def test_matryoshka_adds_the_losses_of_cut_vectors() -> None:
    queries, passages, _ = drawn(3, 2, 4, 0)

    def loss(first: Tensor, second: Tensor) -> Tensor:
        return info_nce(first, second, temperature=T)

    total = sum(float(loss(queries[:, :k], passages[:, :k])) for k in (2, 3))
    found = matryoshka(loss, queries, passages, dims=(2, 3))
    assert float(found) == pytest.approx(total, abs=1e-6)
