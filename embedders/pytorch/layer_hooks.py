"""Hooks between a model's layers: token prepending, contrastive prompting, and an early end.

Each hook lives for one forward pass, so the model itself is not changed, and an export traces the
first two; their definitions are in ``recipe/layer_hooks.py``. Layers above the deepest pooled layer
do not run: torch stops before them, and an export traces the whole model and prunes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ..errors import RecipeError
from ..recipe.enums import Pooling
from ..recipe.layer_hooks import ContrastivePrompting, TokenPrepending
from .pooling import token_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _EnoughError(Exception):
    """Ends a forward pass once all wanted states are known; never leaves this module."""


def numbered_layers(backbone: PreTrainedModel) -> nn.ModuleList | None:
    """Return the list of a model's layers; None if it has no such list."""
    count: int = backbone.config.num_hidden_layers
    lists = (part for part in backbone.modules() if isinstance(part, nn.ModuleList))
    return next((part for part in lists if len(part) == count), None)


def states_before(
    layers: nn.ModuleList, wanted: Sequence[int], run: Callable[[], object]
) -> list[Tensor] | None:
    """Run a model up to the deepest wanted layer, and return the inputs of the wanted layers.

    Args:
        layers: The layers from :func:`numbered_layers`.
        wanted: Numbers of layers, each once, in any order.
        run: Runs the model.

    Returns:
        One tensor, (rows, T, d), for each of ``wanted``; None if a layer got no tensor.
    """
    seen: dict[int, Tensor] = {}
    deepest = max(wanted)

    def watching(number: int) -> Callable[[nn.Module, tuple[object, ...], dict[str, object]], None]:
        def hook(_: nn.Module, given: tuple[object, ...], named: dict[str, object]) -> None:
            states = given[0] if given else named.get("hidden_states")
            if isinstance(states, Tensor):
                seen[number] = states
            if number == deepest:
                raise _EnoughError

        return hook

    handles = [
        layers[number].register_forward_pre_hook(watching(number), with_kwargs=True)
        for number in wanted
    ]
    try:
        with suppress(_EnoughError):
            run()
    finally:
        for handle in handles:
            handle.remove()
    return [seen[number] for number in wanted] if len(seen) == len(wanted) else None


def decoder_layers(backbone: PreTrainedModel) -> nn.ModuleList:
    """Return a decoder's layers.

    Raises:
        RecipeError: It does not keep them as Llama does.
    """
    layers = getattr(backbone, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise RecipeError(
            f"a {backbone.config.model_type!r} model does not keep its layers as Llama does; token "
            "prepending and contrasts need that"
        )
    return layers


def check_interventions(
    backbone: PreTrainedModel,
    prepending: TokenPrepending | None,
    contrast: ContrastivePrompting | None,
) -> None:
    """Refuse interventions in layers that the model does not have.

    Raises:
        RecipeError: The message names the intervention and the layer.
    """
    if prepending is None and contrast is None:
        return
    count = len(decoder_layers(backbone))
    if prepending is not None and prepending.stop > count:
        raise RecipeError(f"token prepending stops at layer {prepending.stop} of {count}")
    if contrast is not None:
        if contrast.layer >= count:
            raise RecipeError(f"the contrast acts in layer {contrast.layer} of {count}")
        _output_projection(backbone, contrast.layer)


def add_slot(backbone: PreTrainedModel, slot: int) -> None:
    """Append the slot's row to the token embeddings: the mean of the others.

    Raises:
        RecipeError: ``slot`` is not the number of rows.
    """
    table = cast("nn.Embedding", backbone.get_input_embeddings())
    rows = table.weight.detach()  # (V, d)
    if slot != len(rows):
        raise RecipeError(f"the slot must be token {len(rows)}, the id after the last; got {slot}")
    table.weight = nn.Parameter(torch.cat([rows, rows.mean(0, keepdim=True)]), requires_grad=False)
    table.num_embeddings = len(rows) + 1


@contextmanager
def prepended(
    backbone: PreTrainedModel, plan: TokenPrepending, input_ids: Tensor, mask: Tensor
) -> Iterator[None]:
    """Overwrite the slot with the last token's state before each layer of the plan.

    Args:
        backbone: A model with the slot's embedding; see :func:`add_slot`.
        plan: The layers.
        input_ids: int64, shape (B, T); each row holds the slot once.
        mask: int64, shape (B, T); 1 where there is a token.
    """
    at_slot = (input_ids == plan.slot).unsqueeze(-1)  # (B, T, 1)
    at_last = _at_last(mask)

    def overwrite(states: Tensor) -> Tensor:
        last = states.masked_fill(~at_last, 0.0).sum(1, keepdim=True)  # (B, 1, d)
        return torch.where(at_slot, last, states)

    layers = decoder_layers(backbone)[plan.start : plan.stop]
    with _inputs_changed(list(layers), overwrite):
        yield


@contextmanager
def contrasted(
    backbone: PreTrainedModel, plan: ContrastivePrompting, mask: Tensor, auxiliary: Tensor
) -> Iterator[None]:
    """Subtract the auxiliary prompt's heads at the last token.

    Args:
        backbone: A model with :func:`decoder_layers`.
        plan: Layer and strength.
        mask: int64, shape (B, T); 1 where there is a token.
        auxiliary: Shape (B, 1, d'); see :func:`heads_at_last`.
    """
    at_last = _at_last(mask)

    def subtract(heads: Tensor) -> Tensor:
        return torch.where(at_last, plan.strength * (heads - auxiliary), heads)

    with _inputs_changed([_output_projection(backbone, plan.layer)], subtract):
        yield


def heads_at_last(
    backbone: PreTrainedModel, layer: int, run: Callable[[], object], mask: Tensor
) -> Tensor:
    """Return the joined outputs of a layer's attention heads at the last token, (B, 1, d').

    Args:
        backbone: A model with :func:`decoder_layers`.
        layer: The number of the layer.
        run: Runs the backbone on the rows of ``mask``.
        mask: int64, shape (B, T); 1 where there is a token.
    """
    seen: list[Tensor] = []
    at_last = _at_last(mask)

    def keep(heads: Tensor) -> Tensor:
        seen.append(heads.masked_fill(~at_last, 0.0).sum(1, keepdim=True))
        if not torch.compiler.is_compiling():
            raise _EnoughError
        return heads

    projection = _output_projection(backbone, layer)
    with _inputs_changed([projection], keep), suppress(_EnoughError):
        run()
    (found,) = seen
    return found


def _at_last(mask: Tensor) -> Tensor:
    """Return where each row's last token is, bool, shape (B, T, 1)."""
    return (token_weights(mask, Pooling.LAST) > 0).unsqueeze(-1)


def _output_projection(backbone: PreTrainedModel, layer: int) -> nn.Module:
    attention = getattr(decoder_layers(backbone)[layer], "self_attn", None)
    projection = getattr(attention, "o_proj", None)
    if not isinstance(projection, nn.Module):
        raise RecipeError(
            f"a {backbone.config.model_type!r} model has no self_attn.o_proj, where a contrast acts"
        )
    return projection


@contextmanager
def _inputs_changed(modules: list[nn.Module], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Apply ``change`` to the first input of each module."""

    def hook(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, *rest = given
        return (change(first), *rest)

    handles = [module.register_forward_pre_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
