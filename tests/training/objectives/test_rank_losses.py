"""Losses of rerankers beside sentence-transformers', naive loops, and what must not matter."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import losses
from torch import Tensor, nn

from decant.training.objectives.rank_losses import (
    binary_cross_entropy,
    listwise_softmax,
    margin_mse,
    pairwise_logistic,
)

GROUPS, SIZE = 5, 4
LOSSES: list[Callable[[Tensor, Tensor], Tensor]] = [
    binary_cross_entropy,
    pairwise_logistic,
    listwise_softmax,
    lambda scores, there: margin_mse(scores, torch.zeros_like(scores), there),
]
NAMES = ["bce", "pairwise", "listwise", "distil"]


@pytest.fixture
def scores() -> Tensor:
    """Return raw scores of whole groups."""
    return 3 * torch.randn(GROUPS, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def whole() -> Tensor:
    return torch.ones(GROUPS, SIZE, dtype=torch.bool)


class Numbers(nn.Module):
    """Stands for a model: the scores of pairs that are numbers of a row and a column."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores

    def preprocess(self, pairs: list[tuple[str, str]], **_: object) -> dict[str, Tensor]:
        places = [[int(query), int(passage)] for query, passage in pairs]
        return {"places": torch.tensor(places)}

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        rows, columns = inputs["places"].T
        return {"scores": self.scores[rows, columns][:, None]}


def theirs_of(scores: Tensor) -> CrossEncoder:
    """Return a cross-encoder of sentence-transformers that gives these scores."""
    found: CrossEncoder = CrossEncoder(modules=[Numbers(scores)], device="cpu")
    return found


QUERIES = [str(row) for row in range(GROUPS)]
PASSAGES = [[str(column) for column in range(SIZE)] for _ in range(GROUPS)]


def test_binary_cross_entropy_is_theirs_with_the_weight_of_positives(
    scores: Tensor, whole: Tensor
) -> None:
    theirs = losses.BinaryCrossEntropyLoss(theirs_of(scores), pos_weight=torch.tensor(SIZE - 1.0))
    queries = [query for query in QUERIES for _ in range(SIZE)]
    passages = [passage for row in PASSAGES for passage in row]
    labels = torch.tensor([1.0, 0.0, 0.0, 0.0] * GROUPS)
    found = theirs([queries, passages], labels)
    assert abs(found - binary_cross_entropy(scores, whole)) < 1e-6


def test_pairwise_is_their_rank_net(scores: Tensor, whole: Tensor) -> None:
    # Theirs takes a logarithm to base 2, sums over pairs of different label and takes their mean.
    theirs = losses.RankNetLoss(theirs_of(scores))
    labels = [torch.tensor([1.0, 0.0, 0.0, 0.0])] * GROUPS
    found = theirs([QUERIES, PASSAGES], labels)
    assert abs(found * math.log(2) - pairwise_logistic(scores, whole)) < 1e-6


def test_listwise_is_their_list_net_with_one_answer(scores: Tensor, whole: Tensor) -> None:
    theirs = losses.ListNetLoss(theirs_of(scores))
    # Their labels go through a softmax: a large one is all of it.
    labels = [torch.tensor([1e4, 0.0, 0.0, 0.0])] * GROUPS
    found = theirs([QUERIES, PASSAGES], labels)
    assert abs(found - listwise_softmax(scores, whole)) < 1e-6


def test_distillation_is_their_margin_mse(scores: Tensor, whole: Tensor) -> None:
    teacher = scores.flip(0) * 2
    theirs = losses.MarginMSELoss(theirs_of(scores))
    columns = [[row[column] for row in PASSAGES] for column in range(SIZE)]
    found = theirs([QUERIES, *columns], teacher)
    assert abs(found - margin_mse(scores, teacher, whole)) < 1e-5


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_groups_of_several_sizes_give_the_loss_of_a_loop(
    scores: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> None:
    sizes = [4, 2, 1, 3, 4]
    there = torch.arange(SIZE)[None] < torch.tensor(sizes)[:, None]
    kept = [(row[None, :size], size) for row, size in zip(scores, sizes, strict=True) if size > 1]
    alone = [loss(row, torch.ones_like(row, dtype=torch.bool)) for row, _ in kept]
    counts = {LOSSES[0]: [size for _, size in kept], LOSSES[2]: [1 for _ in kept]}
    weights = counts.get(loss, [size - 1 for _, size in kept])
    naive = sum(one * weight for one, weight in zip(alone, weights, strict=True)) / sum(weights)
    assert abs(naive - loss(scores, there)) < 1e-5


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_a_positive_is_pushed_up_and_negatives_down_and_what_is_hidden_stays(
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    scores = torch.tensor([[0.5, 1.0, -2.0, 9.0], [1.0, 0.0, 0.0, 0.0]], requires_grad=True)
    there = torch.tensor([[True, True, True, False], [True, False, False, False]])
    torch.autograd.backward(loss(scores, there))
    assert scores.grad is not None
    if loss is not LOSSES[3]:  # which pulls the positive to where the teacher has it
        assert scores.grad[0, 0] < 0
        assert (scores.grad[0, 1:3] > 0).all()
    assert scores.grad[0, 3] == 0
    assert not scores.grad[1].any()  # a group of one teaches nothing


@pytest.mark.parametrize("loss", LOSSES, ids=NAMES)
def test_nothing_to_learn_is_a_loss_of_zero(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    there = torch.tensor([[True, False]])
    assert loss(torch.tensor([[3.0, 0.0]]), there) == 0
