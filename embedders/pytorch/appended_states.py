"""Gather the hidden states of appended tokens, and fold consecutive linear layers into one.

Gathering is arithmetic on the pooling mask alone, so neither the padding side nor the order of rows
in a batch matters: the token of rank r among the counted tokens goes to place r.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def read_states(hidden: Tensor, mask: Tensor, count: int) -> Tensor:
    """Return the states of the counted tokens, in their order.

    Args:
        hidden: Token states, any float type, shape (B, T, d).
        mask: int64, shape (B, T); 1 where a token counts, ``count`` times in each row.
        count: How many tokens count, n.

    Returns:
        float32, shape (B, n, d).
    """
    ranks = mask.cumsum(1) * mask  # (B, T)
    wanted = torch.arange(1, count + 1, device=mask.device)  # (n,)
    chosen = (ranks.unsqueeze(1) == wanted.view(1, -1, 1)).to(torch.float32)  # (B, n, T)
    # Zero times NaN is NaN, so states of other tokens are replaced, not multiplied by zero.
    states = hidden.to(torch.float32).masked_fill(mask.unsqueeze(-1) == 0, 0.0)
    return torch.matmul(chosen, states)


def decoded_states(states: Tensor, layers: nn.Sequential) -> Tensor:
    """Return the states, (B, n, d), after these layers of the head: (B, n, d')."""
    if not len(layers):
        return states
    # One row for each state, so that quantisers do not take the head for a product of token states.
    rows: Tensor = layers(states.flatten(0, 1))  # (B * n, d')
    return rows.reshape(-1, states.shape[1], rows.shape[1])


def folded(layers: nn.Sequential) -> nn.Sequential:
    """Fold linear layers with nothing between them: ``A (W x + b) + a = (A W) x + (A b + a)``.

    Products are float64, the result is float32. A mean over tokens commutes with a linear layer, so
    pooling before the layers gives the same as pooling after them.

    Args:
        layers: Linear layers and activations; they are not changed.
    """
    kept: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.Identity):
            continue
        if kept and isinstance(layer, nn.Linear) and isinstance(before := kept[-1], nn.Linear):
            kept[-1] = _product(before, layer)
        else:
            kept.append(layer)
    return nn.Sequential(*kept)


def _product(first: nn.Linear, second: nn.Linear) -> nn.Linear:
    outer = second.weight.double()
    inner, shift = _bias(first), _bias(second)
    shifts = [] if inner is None else [outer @ inner]
    shifts += [] if shift is None else [shift]
    made = nn.Linear(first.in_features, second.out_features, bias=bool(shifts))
    with torch.no_grad():
        made.weight.copy_(outer @ first.weight.double())
        if shifts:
            made.bias.copy_(torch.stack(shifts).sum(0))
    return made


def _bias(layer: nn.Linear) -> Tensor | None:
    held: Tensor | None = layer.bias  # torch's types do not state that it may be None
    return None if held is None else held.double()
