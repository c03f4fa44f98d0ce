"""Load a model folder as its recipe specifies, and refuse one that does not fit the recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import torch
from torch import nn

from ..encoding.protocol import OnStep
from ..errors import RecipeError
from ..recipe.dense import Dense
from ..recipe.enums import Activation
from ..recipe.recipe import Recipe
from ..recipe.sparse_head import SparsePooling
from ..sources.positions import settle_rotary
from ..sources.weight_files import check_finite_weights, load_weights
from .attention_mask import check_attention
from .backbone import load_backbone, load_language_model
from .late_head import load_token_head
from .latent_attention import load_latent_attention
from .layer_hooks import add_slot, check_interventions, numbered_layers, states_before
from .lora import merge_adapters
from .model import PooledModel, pooled_width
from .sparse_head import LexicalHead, lexical_head
from .token_weights import TokenWeightHead, load_token_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# In float32, relative to the largest value: other first positions change rotary angles by so
# little.
_ROUNDING = 1e-4


def load_model(
    folder: Path,
    recipe: Recipe,
    *,
    adapters: Sequence[Path] = (),
    fold: bool = True,
    on_step: OnStep | None = None,
) -> PooledModel:
    """Load a model folder in float32, ready for inference.

    Args:
        folder: A Transformers or sentence-transformers folder.
        recipe: The recipe of the model's vectors.
        adapters: Folders of LoRA adapters, merged in this order.
        fold: Whether linear layers with nothing between them become one; training keeps them.
        on_step: Called with the name of each step that may take minutes.

    Raises:
        RecipeError: The folder does not fit the recipe: layer, width, head, length, attention or
            weights; or its weights cannot be read, or hold NaN.
    """
    lexical: LexicalHead | TokenWeightHead | None = None
    sparse_head = recipe.sparse_head
    if sparse_head is None:
        backbone = load_backbone(folder, recipe.attention)
    elif sparse_head.weighting is SparsePooling.TOKENS:
        backbone = load_backbone(folder, recipe.attention)
        width: int = backbone.config.hidden_size
        lexical = load_token_weights(folder, sparse_head, width=width)
    else:
        backbone, whole = load_language_model(folder, recipe.attention)
        lexical = lexical_head(whole, sparse_head, folder=folder, on_step=on_step)
    check_finite_weights(backbone.named_parameters(), folder)
    backbone = merge_adapters(backbone, adapters)
    return pooled_model(folder, recipe, backbone, lexical=lexical, fold=fold)


def pooled_model(
    folder: Path,
    recipe: Recipe,
    backbone: PreTrainedModel,
    *,
    lexical: LexicalHead | TokenWeightHead | None = None,
    head: nn.Sequential | None = None,
    fold: bool = True,
) -> PooledModel:
    """Add the recipe's parts to a backbone that was loaded from a folder, with frozen weights.

    The arguments are those of :func:`load_model`; ``head`` None loads the folder's head.

    Raises:
        RecipeError: As in :func:`load_model`.
    """
    backbone.config.use_cache = False
    heads = recipe.latent_heads
    latent = None if heads is None else load_latent_attention(folder, heads)
    layers = load_head(folder, recipe.head) if head is None else head
    late = recipe.late_interaction
    tokens = None
    if late is not None:
        tokens = load_token_head(folder, late, width=backbone.config.hidden_size)
    model = PooledModel(backbone, recipe, layers, latent=latent, lexical=lexical, tokens=tokens)
    return settled(model, fold=fold)


def settled(model: PooledModel, *, fold: bool = True) -> PooledModel:
    """Find out what a model's table of families may not know, and freeze its weights.

    Args:
        model: A new model.
        fold: As for :func:`load_model`.

    Raises:
        RecipeError: The backbone does not fit the recipe: layer, width, positions, attention.
    """
    backbone, recipe = model.backbone, model.recipe
    check_fit(model)
    with _running(backbone):
        settle_positions(model)
    model = model.folded() if fold else model.eval()
    with _running(backbone):
        settle_depth(model)
    if recipe.prepending is not None:
        add_slot(backbone, recipe.prepending.slot)
    settle_rotary(backbone, recipe.max_tokens)
    with _running(backbone):
        check_attention(backbone, recipe.attention)
    return model.requires_grad_(requires_grad=False)


@contextmanager
def _running(backbone: PreTrainedModel) -> Iterator[None]:
    """Raise an error if a model does not run, for example because it needs more than text."""
    try:
        yield
    except RecipeError:
        raise
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise RecipeError(
            f"this {backbone.config.model_type} model does not run on token ids and their mask, "
            f"which are decant's only inputs: {error}"
        ) from error


def check_fit(model: PooledModel) -> None:
    """Refuse a recipe whose layer or widths the model does not have.

    Raises:
        RecipeError: The message names the layer or the widths.
    """
    recipe, config = model.recipe, model.backbone.config
    layers = config.num_hidden_layers
    if not -layers - 1 <= recipe.layer <= layers:
        raise RecipeError(f"layer {recipe.layer} is not among the model's {layers} layers")
    check_interventions(model.backbone, recipe.prepending, recipe.contrast)
    given = pooled_width(model.backbone, recipe)
    if recipe.head and recipe.head[0].inputs != given:
        raise RecipeError(f"the head takes {recipe.head[0].inputs} values, the model gives {given}")
    width = recipe.head[-1].outputs if recipe.head else given
    if recipe.dim is not None and recipe.dim > width:
        raise RecipeError(f"dim {recipe.dim} exceeds the model's width {width}")


def settle_positions(model: PooledModel) -> None:
    """Find the model's own way to count positions: run short texts with and without ours.

    Wrong positions give plausible vectors and no error, and no list of families is complete.

    Args:
        model: In evaluation mode; its first position and its uncounted id are set.

    Raises:
        RecipeError: The model counts positions in an unknown way.
    """
    if not model.takes_positions:
        return
    config = model.backbone.config
    padding = getattr(config, "pad_token_id", None)
    padding = padding if isinstance(padding, int) and 0 <= padding < config.vocab_size else None
    half: int = config.vocab_size // 2
    # RoBERTa models find padding by its id, whatever the mask says.
    held = {padding, model.uncounted_id}
    words = [one for one in range(half, half + 5) if one not in held][:3]
    firsts = dict.fromkeys((model.first_position, 1 + (padding or 0)))
    for first in firsts:
        model.first_position = first
        if _counts_as(model, words):
            break
    else:
        known, other = next(iter(firsts)), 1 + (padding or 0)
        raise RecipeError(
            f"this {config.model_type} model counts positions neither from {known} nor from "
            f"{other}, behind its padding token; decant cannot compute its positions, use "
            "another model"
        )
    _settle_uncounted(model, words, padding)


def _settle_uncounted(model: PooledModel, words: list[int], padding: int | None) -> None:
    """Find out by a run whether a padding token inside a text gets a position of its own."""
    known = model.uncounted_id
    word = padding if known is None else known
    if word is None:
        return
    text = [words[0], word, *words[1:]]
    behind = model.first_position - 1  # the position of such a word is the padding token's id
    for uncounted in (known, word if word == behind else None, None):
        model.uncounted_id = uncounted
        if _counts_as(model, text):
            return
    raise RecipeError(
        f"this {model.backbone.config.model_type} model counts positions in a way that decant does "
        f"not know where a text holds its padding token ({word}); use another model"
    )


def _counts_as(model: PooledModel, ids: list[int]) -> bool:
    """Return whether a text's states are the same with our positions as without any."""
    row = torch.tensor([ids])
    text = {"input_ids": row, "attention_mask": torch.ones_like(row)}
    backbone = model.backbone.eval()
    with torch.inference_mode():
        own = backbone(**text).last_hidden_state
        try:
            ours = backbone(**text, position_ids=model.positions(**text)).last_hidden_state
        except IndexError:  # the position is beyond the table
            return False
    return bool((ours - own).abs().max() <= _ROUNDING * own.abs().max())


def settle_depth(model: PooledModel) -> None:
    """Let runs end at the deepest pooled layer, if that is not the last layer.

    A short text runs both ways. If the inputs of the layers differ from Transformers' hidden
    states, or the model has no list of layers, it always runs as a whole.

    Args:
        model: In evaluation mode; its ``early`` is set.
    """
    recipe, backbone = model.recipe, model.backbone
    whole = recipe.mix is None and recipe.layer == -1
    layers = None if whole or recipe.sparse_head is not None else numbered_layers(backbone)
    if layers is None or max(wanted := model.read_layers(1 + len(layers))) == len(layers):
        return
    half: int = backbone.config.vocab_size // 2
    ids = torch.arange(half, half + 3)[None]
    text = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.inference_mode():
        listed = backbone(**text, output_hidden_states=True).hidden_states
        found = states_before(layers, wanted, lambda: backbone(**text))
    if found is not None and len(listed) == 1 + len(layers):
        pairs = zip(found, wanted, strict=True)
        if all(torch.equal(states, listed[number]) for states, number in pairs):
            model.early = (layers,)


def load_head(folder: Path, layers: tuple[Dense, ...]) -> nn.Sequential:
    """Build the dense layers with the weights of a sentence-transformers folder.

    Raises:
        RecipeError: A layer's weights are missing or have another shape.
    """
    return nn.Sequential(*(module for layer in layers for module in _dense(folder, layer)))


def make_head(layers: tuple[Dense, ...]) -> nn.Sequential:
    """Build the dense layers with new weights, by torch's own initialisation."""
    parts: list[nn.Module] = []
    for layer in layers:
        linear = nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
        parts += [linear, _activation(layer.activation)]
    return nn.Sequential(*parts)


def _dense(folder: Path, layer: Dense) -> tuple[nn.Module, nn.Module]:
    linear = nn.Linear(layer.inputs, layer.outputs, bias=layer.bias)
    weights = load_weights(folder / layer.path)
    try:
        linear.load_state_dict(
            {name.removeprefix("linear."): value.float() for name, value in weights.items()}
        )
    except RuntimeError as error:
        raise RecipeError(f"the weights in {folder / layer.path} do not fit: {error}") from error
    return linear, _activation(layer.activation)


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
