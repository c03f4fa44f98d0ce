"""A backbone, its pooling, head and normalisation as one torch module.

It is the reference, and what the export traces.

Positions are computed from the mask, so that either padding side gives the same vectors. Loading
weights is here too; tokenising is not. The graph contract is ``docs/architecture.md``'s.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import torch
from torch import Tensor, nn

from .adapters import merge_adapters
from .attention import check_attention
from .backbone import load_backbone
from .errors import RecipeError
from .latent_attention import LatentAttention, load_latent_attention
from .pooling import pool
from .positions import first_position, settle_rotary
from .recipe import Activation, Dense, Pooling, Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PooledModel(nn.Module):
    """From token ids to finished vectors.

    Args:
        backbone: A Transformers base model in evaluation mode.
        recipe: Layer, pooling, width and normalisation.
        head: Its dense layers, in the recipe's order.
        latent: Its latent attention, if the recipe has one.

    Raises:
        RecipeError: The recipe has a latent attention and ``latent`` is None, or the other way.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        recipe: Recipe,
        head: nn.Sequential,
        *,
        latent: LatentAttention | None = None,
    ) -> None:
        super().__init__()
        if (latent is None) != (recipe.latent_heads is None):
            raise RecipeError(
                f"the recipe has latent_heads={recipe.latent_heads}, and the model "
                f"{'no' if latent is None else 'a'} latent attention; hand over both or neither"
            )
        self.latent = latent
        self.backbone = backbone
        self.head = head
        self.recipe = recipe
        self._takes_positions = "position_ids" in inspect.signature(backbone.forward).parameters
        self._first_position = first_position(backbone)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, pooling_mask: Tensor | None = None
    ) -> Tensor:
        """Return float32 vectors of shape (B, D).

        Args:
            input_ids: int64, shape (B, T).
            attention_mask: int64, shape (B, T); 1 where there is a token.
            pooling_mask: int64, shape (B, T); 1 where a token counts; None: the attention mask.
        """
        layers = self.layers(input_ids, attention_mask)
        counted = attention_mask if pooling_mask is None else pooling_mask
        pooled = [pool(states, counted, self.recipe.pooling) for states in layers]  # (B, d)
        vectors: Tensor = self.head(self._mixed(pooled))  # (B, D)
        if self.recipe.dim is not None:
            vectors = vectors[:, : self.recipe.dim]
        if self.recipe.normalize:
            vectors = nn.functional.normalize(vectors, dim=-1)
        return vectors.to(torch.float32)

    def layers(self, input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """Return the token states that are pooled, shape (B, T, d), of each layer that is."""
        arguments = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self._takes_positions:
            ranks = (attention_mask.cumsum(1) - 1).clamp(min=0)
            arguments["position_ids"] = ranks + self._first_position
        mix, layer = self.recipe.mix, self.recipe.layer
        if mix is None and layer == -1:
            chosen: list[Tensor] = [self.backbone(**arguments).last_hidden_state]
        else:
            states = self.backbone(**arguments, output_hidden_states=True).hidden_states
            wanted = (layer,) if mix is None else mix.indices(len(states))
            chosen = [states[index] for index in wanted]
        return chosen if self.latent is None else [self.latent(states) for states in chosen]

    def _mixed(self, pooled: list[Tensor]) -> Tensor:
        """Average the layers' vectors, (B, d), as the recipe's mix says."""
        mix = self.recipe.mix
        if mix is None:
            (vectors,) = pooled
            return vectors
        if mix.unit:
            pooled = [nn.functional.normalize(vectors, dim=-1) for vectors in pooled]
        shares = mix.shares(len(pooled))
        parts = [share * vectors for share, vectors in zip(shares, pooled, strict=True)]
        return torch.stack(parts).sum(0)

    def pooled_by(self, pooling: Pooling) -> PooledModel:
        """Return a model that shares every weight and pools otherwise.

        Raises:
            RecipeError: The pooling does not suit the model's attention.
        """
        recipe = replace(self.recipe, pooling=pooling)
        return PooledModel(self.backbone, recipe, self.head, latent=self.latent).eval()

    @property
    def dim(self) -> int:
        """The width D of the vectors."""
        given = _given(self.backbone, self.recipe)
        width = self.recipe.head[-1].outputs if self.recipe.head else given
        return min(width, self.recipe.dim or width)


def load_model(folder: Path, recipe: Recipe, *, adapters: Sequence[Path] = ()) -> PooledModel:
    """Load a model folder in float32, ready for inference.

    Args:
        folder: A Transformers or sentence-transformers folder.
        recipe: What the model's vectors are made by.
        adapters: Folders of LoRA adapters, merged in this order.

    Raises:
        RecipeError: The folder does not fit the recipe: layer, width, head, length, attention or
            weights.
    """
    backbone = load_backbone(folder, recipe.attention)
    backbone = merge_adapters(backbone, adapters)
    backbone.config.use_cache = False
    heads = recipe.latent_heads
    latent = None if heads is None else load_latent_attention(folder, heads)
    model = PooledModel(backbone, recipe, load_head(folder, recipe.head), latent=latent).eval()
    check_fit(model)
    settle_rotary(backbone, recipe.max_tokens)
    check_attention(backbone, recipe.attention)
    return model.requires_grad_(requires_grad=False)


def check_fit(model: PooledModel) -> None:
    """Refuse a recipe whose layer or widths the model does not have.

    Raises:
        RecipeError: Says which.
    """
    recipe, config = model.recipe, model.backbone.config
    layers = config.num_hidden_layers
    if not -layers - 1 <= recipe.layer <= layers:
        raise RecipeError(f"layer {recipe.layer} is not among the model's {layers} layers")
    given = _given(model.backbone, recipe)
    if recipe.head and recipe.head[0].inputs != given:
        raise RecipeError(f"the head takes {recipe.head[0].inputs} values, the model gives {given}")
    width = recipe.head[-1].outputs if recipe.head else given
    if recipe.dim is not None and recipe.dim > width:
        raise RecipeError(f"dim {recipe.dim} exceeds the model's width {width}")


def _given(backbone: PreTrainedModel, recipe: Recipe) -> int:
    """Width of the states that are pooled; OPT-350m alone projects its last ones to another.

    Raises:
        RecipeError: The recipe mixes layers that are not there, or of different widths.
    """
    config = backbone.config
    width: int = config.hidden_size
    last: int = getattr(config, "word_embed_proj_dim", None) or width
    if recipe.mix is None:
        return last if recipe.layer == -1 else width
    layers: int = config.num_hidden_layers
    widths = {last if at == layers else width for at in recipe.mix.indices(layers + 1)}
    if len(widths) > 1:
        raise RecipeError(
            f"the model's last layer is {last} wide and the others {width}; they cannot be averaged"
        )
    return widths.pop()


def load_head(folder: Path, layers: tuple[Dense, ...]) -> nn.Sequential:
    """Build the dense layers with the weights of a sentence-transformers folder.

    Raises:
        RecipeError: A layer's weights are missing or have another shape.
    """
    return nn.Sequential(*(module for layer in layers for module in _dense(folder, layer)))


def _dense(folder: Path, layer: Dense) -> tuple[nn.Module, nn.Module]:
    linear = nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
    weights = _weights(folder / layer.path)
    try:
        linear.load_state_dict(
            {name.removeprefix("linear."): value.float() for name, value in weights.items()}
        )
    except RuntimeError as error:
        raise RecipeError(f"the weights in {folder / layer.path} do not fit: {error}") from error
    return linear, _activation(layer.activation)


def _weights(folder: Path) -> dict[str, Tensor]:
    if (file := folder / "model.safetensors").exists():
        from safetensors.torch import load_file

        return load_file(file)
    if (file := folder / "pytorch_model.bin").exists():
        loaded: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        return loaded
    raise RecipeError(f"{folder} holds neither model.safetensors nor pytorch_model.bin")


def _activation(activation: Activation) -> nn.Module:
    match activation:
        case Activation.IDENTITY:
            return nn.Identity()
        case Activation.TANH:
            return nn.Tanh()
        case Activation.RELU:
            return nn.ReLU()
        case Activation.GELU:
            return nn.GELU()
        case _:
            assert_never(activation)
