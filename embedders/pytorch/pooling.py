"""Combine token states into one vector, in torch, so that it can be traced into a graph.

Only the mask and its cumulative sum are used: no flip, no argmax, no slicing by length, so the
padding side and holes in the mask do not matter. All sums are float32.
Formulas: :class:`~decant.embedders.Pooling`.
"""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor

from ..recipe.enums import Pooling

_TINY = 1e-9


def token_weights(mask: Tensor, pooling: Pooling) -> Tensor:
    """Return the weight of each token.

    Args:
        mask: int64, shape (B, T); 1 where a token counts.
        pooling: Any member but MAX, which is not a weighting.

    Returns:
        float32, shape (B, T); zero where the mask is. A row without tokens is all zero.

    Raises:
        ValueError: ``pooling`` is MAX.
    """
    seen = mask.cumsum(1)  # (B, T)
    count = mask.sum(1, keepdim=True)  # (B, 1)
    match pooling:
        case Pooling.MEAN | Pooling.MEAN_SQRT:
            weights = mask
        case Pooling.WEIGHTED_MEAN:
            weights = mask * seen
        case Pooling.FIRST:
            weights = mask * (seen == 1)
        case Pooling.LAST:
            weights = mask * (seen == count)
        case Pooling.MAX:
            raise ValueError("max pooling has no weights; call pool()")
        case _:
            assert_never(pooling)
    weights = weights.to(torch.float32)
    total = weights.sum(1, keepdim=True)
    if pooling is Pooling.MEAN_SQRT:
        total = total.sqrt()
    return weights / total.clamp(min=_TINY)


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Return one vector per row.

    Args:
        hidden: Token states, any float type, shape (B, T, D).
        mask: int64, shape (B, T); 1 where a token counts; at least one in a row.
        pooling: How they combine.

    Returns:
        float32, shape (B, D).
    """
    states = hidden.to(torch.float32)
    if pooling is Pooling.MAX:
        lowest = torch.finfo(torch.float32).min
        return states.masked_fill(mask.unsqueeze(-1) == 0, lowest).amax(1)
    # Zero times NaN is NaN, so states of padded tokens are replaced, not multiplied by zero.
    states = states.masked_fill(mask.unsqueeze(-1) == 0, 0.0)
    return torch.einsum("bt,btd->bd", token_weights(mask, pooling), states)
