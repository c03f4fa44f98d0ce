"""A backbone, its pooling, head and normalisation as one torch module.

It is the reference, and what the export traces.

Positions are computed from the mask, so that either padding side gives the same vectors. Loading
weights is here too; tokenising is not. The graph contract is ``docs/architecture.md``'s.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import assert_never

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from .errors import RecipeError
from .pooling import pool
from .recipe import Activation, Attention, Dense, Pooling, Recipe

# These count positions from padding_idx + 1 on (transformers: create_position_ids_from_input_ids).
_OFFSET_POSITIONS = {"camembert", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"}


class PooledModel(nn.Module):
    """From token ids to finished vectors.

    Args:
        backbone: A Transformers base model in evaluation mode.
        recipe: Layer, pooling, width and normalisation.
        head: Its dense layers, in the recipe's order.
    """

    def __init__(self, backbone: PreTrainedModel, recipe: Recipe, head: nn.Sequential) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.recipe = recipe
        self._takes_positions = "position_ids" in inspect.signature(backbone.forward).parameters
        offset = backbone.config.model_type in _OFFSET_POSITIONS
        self._first_position = (backbone.config.pad_token_id or 1) + 1 if offset else 0

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, pooling_mask: Tensor | None = None
    ) -> Tensor:
        """Return float32 vectors of shape (B, D).

        Args:
            input_ids: int64, shape (B, T).
            attention_mask: int64, shape (B, T); 1 where there is a token.
            pooling_mask: int64, shape (B, T); 1 where a token counts; None: the attention mask.
        """
        hidden = self.hidden(input_ids, attention_mask)  # (B, T, d)
        counted = attention_mask if pooling_mask is None else pooling_mask
        vectors: Tensor = self.head(pool(hidden, counted, self.recipe.pooling))  # (B, D)
        if self.recipe.dim is not None:
            vectors = vectors[:, : self.recipe.dim]
        if self.recipe.normalize:
            vectors = nn.functional.normalize(vectors, dim=-1)
        return vectors.to(torch.float32)

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the token states that are pooled, shape (B, T, d)."""
        arguments = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self._takes_positions:
            ranks = (attention_mask.cumsum(1) - 1).clamp(min=0)
            arguments["position_ids"] = ranks + self._first_position
        if self.recipe.layer == -1:
            last: Tensor = self.backbone(**arguments).last_hidden_state
            return last
        states: tuple[Tensor, ...] = self.backbone(
            **arguments, output_hidden_states=True
        ).hidden_states
        return states[self.recipe.layer]

    def pooled_by(self, pooling: Pooling) -> PooledModel:
        """Return a model that shares every weight and pools otherwise.

        Raises:
            RecipeError: The pooling does not suit the model's attention.
        """
        recipe = replace(self.recipe, pooling=pooling)
        return PooledModel(self.backbone, recipe, self.head).eval()

    @property
    def dim(self) -> int:
        """The width D of the vectors."""
        config = self.backbone.config
        width: int = self.recipe.head[-1].outputs if self.recipe.head else config.hidden_size
        return min(width, self.recipe.dim or width)


def load_model(folder: Path, recipe: Recipe) -> PooledModel:
    """Load a model folder in float32, ready for inference.

    Args:
        folder: A Transformers or sentence-transformers folder.
        recipe: What the model's vectors are made by.

    Raises:
        RecipeError: The folder does not fit the recipe: layer, width, head or weights.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        apply_attention(config, recipe.attention)
        backbone, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise RecipeError(f"{folder} does not load as a Transformers model: {error}") from error
    if missing := sorted(key for key in report["missing_keys"] if "pooler" not in key):
        raise RecipeError(
            f"{folder} has no weights for {missing[0]!r} and {len(missing) - 1} more; they would "
            "be random. Is the file complete, and of this architecture?"
        )
    backbone.config.use_cache = False
    model = PooledModel(backbone, recipe, load_head(folder, recipe.head)).eval()
    check_fit(model)
    return model.requires_grad_(requires_grad=False)


def apply_attention(config: PretrainedConfig, attention: Attention) -> None:
    """Make Transformers build the mask that the recipe asks for.

    Transformers' mask functions turn a causal mask into a bidirectional one where
    ``config.is_causal`` is false (``masking_utils.create_causal_mask``); encoders ignore it.
    """
    if attention is Attention.BIDIRECTIONAL:
        config.is_causal = False


def check_fit(model: PooledModel) -> None:
    """Refuse a recipe whose layer or widths the model does not have.

    Raises:
        RecipeError: Says which.
    """
    recipe, config = model.recipe, model.backbone.config
    layers = config.num_hidden_layers
    if not -layers - 1 <= recipe.layer <= layers:
        raise RecipeError(f"layer {recipe.layer} is not among the model's {layers} layers")
    if recipe.head and recipe.head[0].inputs != config.hidden_size:
        raise RecipeError(
            f"the head takes {recipe.head[0].inputs} values, the model gives {config.hidden_size}"
        )
    width = recipe.head[-1].outputs if recipe.head else config.hidden_size
    if recipe.dim is not None and recipe.dim > width:
        raise RecipeError(f"dim {recipe.dim} exceeds the model's width {width}")


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
