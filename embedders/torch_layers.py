"""Reach between a decoder's layers: token prepending and contrastive prompting.

Both are hooks that live for one forward pass, so that the model itself is not changed and one
export traces what they do. The definitions are in ``intervention.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from .errors import RecipeError
from .intervention import Contrast, Prepending
from .kinds import Pooling
from .pooling import token_weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def decoder_layers(backbone: PreTrainedModel) -> nn.ModuleList:
    """Return a decoder's layers.

    Raises:
        RecipeError: It does not keep them as Llama and its kin do.
    """
    layers = getattr(backbone, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise RecipeError(
            f"a {backbone.config.model_type!r} model does not keep its layers as Llama and its kin "
            "do; token prepending and contrasts are built for those"
        )
    return layers


def check_interventions(
    backbone: PreTrainedModel, prepending: Prepending | None, contrast: Contrast | None
) -> None:
    """Refuse interventions for which the model has no place.

    Raises:
        RecipeError: Says which.
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
        raise RecipeError(f"the slot must be token {len(rows)}, one beyond the others; got {slot}")
    table.weight = nn.Parameter(torch.cat([rows, rows.mean(0, keepdim=True)]), requires_grad=False)
    table.num_embeddings = len(rows) + 1


@contextmanager
def prepended(
    backbone: PreTrainedModel, plan: Prepending, input_ids: Tensor, mask: Tensor
) -> Iterator[None]:
    """Overwrite the slot with the last token's state before each layer of the plan.

    Args:
        backbone: Has the slot's embedding; see :func:`add_slot`.
        plan: Which layers.
        input_ids: int64, shape (B, T); the slot stands once in a row.
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
    backbone: PreTrainedModel, plan: Contrast, mask: Tensor, auxiliary: Tensor
) -> Iterator[None]:
    """Subtract the auxiliary prompt's heads at the last token.

    Args:
        backbone: Has :func:`decoder_layers`.
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
    """Return what a layer's attention heads give at the last token, joined: shape (B, 1, d').

    Args:
        backbone: Has :func:`decoder_layers`.
        layer: Which of them.
        run: Runs the backbone on the rows of ``mask``.
        mask: int64, shape (B, T); 1 where there is a token.
    """
    seen: list[Tensor] = []
    at_last = _at_last(mask)

    def keep(heads: Tensor) -> Tensor:
        seen.append(heads.masked_fill(~at_last, 0.0).sum(1, keepdim=True))
        return heads

    with _inputs_changed([_output_projection(backbone, layer)], keep):
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
    """Pass what each module is given first through ``change``."""

    def hook(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, *rest = given
        return (change(first), *rest)

    handles = [module.register_forward_pre_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
