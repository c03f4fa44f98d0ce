"""Losses of rerankers: pure functions of the raw scores of a query's passages, in float32.

A row of scores is a group: the passage that answers a query, then its negatives. Groups may differ
in size, so each function takes a mask; what it hides counts nowhere, and a group without negatives
teaches nothing. Every function returns a scalar. Letters: B queries, G the passages of the largest
group.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def binary_cross_entropy(scores: Tensor, there: Tensor) -> Tensor:
    """Return the binary cross-entropy of raw scores, the mean over all pairs.

    ``-n log sigmoid(s)`` for a positive with n negatives, ``-log(1 - sigmoid(s))`` for a negative:
    both sides of a group weigh the same. With equal groups it is ``BinaryCrossEntropyLoss`` of
    sentence-transformers with ``pos_weight=n``.

    Args:
        scores: (B, G), the positive's first.
        there: bool (B, G).
    """
    counts = _negatives(there).sum(1)  # (B,)
    pushed = functional.softplus(-scores[:, 0].float()) * counts
    pulled = functional.softplus(scores[:, 1:].float()).masked_fill(~there[:, 1:], 0.0)
    pairs = there.sum(1).masked_fill(counts == 0, 0).sum().clamp_min(1)
    return (pushed.sum() + pulled.sum()) / pairs


def pairwise_logistic(scores: Tensor, there: Tensor) -> Tensor:
    """Return RankNet's loss (Burges et al. 2005), the mean over pairs of positive and negative.

    ``log(1 + exp(s_negative - s_positive))``.

    Args:
        scores: (B, G), the positive's first.
        there: bool (B, G).
    """
    return _mean(functional.softplus(-_margins(scores)), _negatives(there))


def listwise_softmax(scores: Tensor, there: Tensor) -> Tensor:
    """Return the cross-entropy of a softmax over each group, the mean over groups.

    ``-log(exp(s_positive) / sum over the group of exp(s))``: ListNet's top-one loss (Cao et al.
    2007) with one relevant passage, and the localized contrastive estimate where the negatives are
    those of the search that comes before the reranker (Gao et al. 2021, arXiv 2101.08751).

    Args:
        scores: (B, G), the positive's first.
        there: bool (B, G).
    """
    hidden = scores.float().masked_fill(~there, float("-inf"))
    each = torch.logsumexp(hidden, dim=1) - hidden[:, 0]
    return _mean(each, _negatives(there).any(1))


def margin_mse(scores: Tensor, teacher: Tensor, there: Tensor) -> Tensor:
    """Return MarginMSE (Hofstätter et al. 2020, arXiv 2010.02666), the mean over negatives.

    ``((s_positive - s_negative) - (t_positive - t_negative))**2``: the student learns how far apart
    the teacher puts passages, on whatever scale.

    Args:
        scores: (B, G), the positive's first.
        teacher: (B, G), the teacher's raw scores of the same pairs.
        there: bool (B, G).
    """
    return _mean((_margins(scores) - _margins(teacher)).square(), _negatives(there))


def _margins(scores: Tensor) -> Tensor:
    """Return by how much the positive is ahead of each negative, (B, G - 1)."""
    return scores[:, :1].float() - scores[:, 1:].float()


def _negatives(there: Tensor) -> Tensor:
    return there[:, 1:]


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return values.masked_fill(~counted, 0.0).sum() / counted.sum().clamp_min(1)
