"""Layers that forget their states and compute them anew in the backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from ..errors import TrainingError

if TYPE_CHECKING:
    from torch import nn


def enable_gradient_checkpointing(objective: nn.Module) -> None:
    """Let the layers of every Transformers model in a module forget their states.

    Frozen models through which gradients flow, too, once :func:`freeze_mode` is called for them.

    Raises:
        TrainingError: There is no such model, or none that can.
    """
    models = [part for part in objective.modules() if isinstance(part, PreTrainedModel)]
    inner = {id(part) for model in models for part in model.modules() if part is not model}
    able = [one for one in models if id(one) not in inner and one.supports_gradient_checkpointing]
    for model in able:
        # Transformers renames it within version 5.
        enable = getattr(
            model, "activation_checkpointing_enable", model.gradient_checkpointing_enable
        )
        enable({"use_reentrant": False})
    if not able:
        raise TrainingError(
            "this method has no model that can; train without gradient_checkpointing"
        )


def freeze_mode(model: PreTrainedModel) -> None:
    """Set a frozen model to evaluation: no dropout; layers that forget states go on to do so."""
    model.eval()
    for layer in model.modules():
        # Transformers recomputes a layer that is in training; its parts stay in evaluation.
        if isinstance(layer, GradientCheckpointingLayer) and layer.gradient_checkpointing:
            layer.training = True
            for name, value in vars(layer).items():  # what the layer itself drops (OPT)
                if "drop" in name and isinstance(value, float):
                    setattr(layer, name, 0.0)
