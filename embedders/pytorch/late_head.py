"""The layer that makes token vectors, which ``recipe/late_interaction.py`` defines.

Its weights lie in a folder of sentence-transformers, among the model's own (``linear.weight``, as
ColBERT keeps them), or in a file of PyTorch's (BGE-M3's ``colbert_linear.pt``).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import RecipeError
from ..recipe.dense import Dense
from ..recipe.enums import Activation
from ..recipe.late_interaction import LateInteraction
from ..sources.weight_files import load_tensors


class TokenHead(nn.Module):
    """Maps token states to token vectors.

    Args:
        late: Whether vectors get unit length.
        projection: The linear layer; None: vectors are the states.
    """

    def __init__(self, late: LateInteraction, projection: nn.Linear | None) -> None:
        super().__init__()
        self.late = late
        self.projection = nn.Identity() if projection is None else projection

    def forward(self, states: Tensor) -> Tensor:
        """Return float32 vectors of shape (B, T, D) for states of shape (B, T, d)."""
        vectors: Tensor = self.projection(states.to(torch.float32))
        return nn.functional.normalize(vectors, dim=-1) if self.late.normalize else vectors


def load_token_head(folder: Path, late: LateInteraction, *, width: int) -> TokenHead:
    """Build the layer with the weights of a model's folder.

    Args:
        folder: The model's.
        late: The recipe's late interaction.
        width: The width of the model's states.

    Raises:
        RecipeError: The weights are missing, cannot be read, or have other shapes.
    """
    layer = late.projection
    if layer is None:
        return TokenHead(late, None)
    if layer.inputs != width:
        raise RecipeError(
            f"the projection of tokens takes {layer.inputs} values, and the model's states have "
            f"{width}"
        )
    return TokenHead(late, load_linear(folder, layer))


def load_linear(folder: Path, layer: Dense) -> nn.Linear:
    """Load one linear layer on token states.

    Raises:
        RecipeError: Its weights are missing, cannot be read or have other shapes, or it has an
            activation, which no known model has there.
    """
    if layer.activation is not Activation.IDENTITY:
        raise RecipeError(f"a projection of tokens has no activation, got {layer.activation.value}")
    held = load_tensors(folder / layer.path)
    kept = {
        name: held[key].float()
        for name in ("weight", "bias")
        for key in (f"linear.{name}", name)
        if key in held and (layer.bias or name == "weight")
    }
    linear = nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
    try:
        linear.load_state_dict(kept)
    except RuntimeError as error:
        raise RecipeError(f"the weights in {folder / layer.path} do not fit: {error}") from error
    return linear
