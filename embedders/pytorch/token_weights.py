"""A weight for each token of a text by one linear layer: the sparse head of BGE-M3.

``relu(w · h + b)`` of each token's last state; a token that comes several times has the largest
(BGE-M3, arXiv 2402.03216, section 3.1; FlagEmbedding's ``_process_token_weights``). The indices are
the text's own token ids, so nothing of the vocabulary's size is ever in memory.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import RecipeError
from ..recipe.sparse_head import SparseHead
from .late_head import load_linear


class TokenWeightHead(nn.Module):
    """Maps token states to the weights of a text's own tokens.

    Args:
        sparse_head: Which ids weigh nothing.
        linear: The layer, from the width of the states to 1.
    """

    def __init__(self, sparse_head: SparseHead, linear: nn.Linear) -> None:
        super().__init__()
        self.sparse_head = sparse_head
        # A vector, for an export knows a damaged matrix by its shape, and (1, d) is that of others.
        self.weight = nn.Parameter(linear.weight.detach()[0].clone(), requires_grad=False)
        self.bias = nn.Parameter(linear.bias.detach().clone(), requires_grad=False)

    def forward(self, states: Tensor, mask: Tensor, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the token ids, int64, and their weights, float32, both (B, T).

        Of places with the same id the first has id and weight, and all others 0 and 0.

        Args:
            states: The backbone's last states, shape (B, T, d).
            mask: int64, shape (B, T); 1 where a token counts.
            input_ids: int64, shape (B, T).
        """
        products = states.to(self.weight.dtype) * self.weight
        weights = torch.relu(products.sum(-1) + self.bias)  # (B, T)
        counts = mask > 0
        for skipped in self.sparse_head.skipped_ids:
            counts = counts & input_ids.ne(skipped)
        weights = weights * counts.to(weights.dtype)
        same = input_ids.unsqueeze(2) == input_ids.unsqueeze(1)  # (B, T, T)
        largest = (weights.unsqueeze(1) * same.to(weights.dtype)).amax(2)
        columns = torch.ones_like(input_ids).cumsum(1)
        # Padding may come first and have the id of a word; it never stands for it.
        earlier = (columns.unsqueeze(1) < columns.unsqueeze(2)) & counts.unsqueeze(1)
        gone = (same & earlier).any(2) | ~counts
        # A graph's output must not be its input itself.
        ids = input_ids.masked_fill(gone, 0)
        return ids, largest.masked_fill(gone, 0.0)


def load_token_weights(folder: Path, sparse_head: SparseHead, *, width: int) -> TokenWeightHead:
    """Build the head with the weights of a model's folder.

    Args:
        folder: The model's.
        sparse_head: The recipe's, which names the layer.
        width: The width of the model's states.

    Raises:
        RecipeError: The weights are missing, cannot be read, or have other shapes.
    """
    layer = sparse_head.projection
    assert layer is not None
    if (layer.inputs, layer.outputs, layer.bias) != (width, 1, True):
        raise RecipeError(
            f"the layer of token weights maps states of {width} values to one, with a bias; the "
            f"recipe has {layer}"
        )
    return TokenWeightHead(sparse_head, load_linear(folder, layer))
