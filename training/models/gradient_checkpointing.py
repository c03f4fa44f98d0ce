"""Gradient checkpointing: layers drop their activations and recompute them in the backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from ..errors import TrainingError

if TYPE_CHECKING:
    from torch import nn


def enable_gradient_checkpointing(objective: nn.Module) -> None:
    """Turn gradient checkpointing on in every Transformers model of a module.

    Frozen models through which gradients flow use it, too, once :func:`freeze_mode` is called.

    Raises:
        TrainingError: The module has no model that supports it.
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
            "no model of this method supports it; train without gradient_checkpointing"
        )


def freeze_mode(model: PreTrainedModel) -> None:
    """Set a frozen model to evaluation, without dropout but with gradient checkpointing."""
    model.eval()
    for layer in model.modules():
        # Transformers recomputes a layer that is in training; its parts stay in evaluation.
        if isinstance(layer, GradientCheckpointingLayer) and layer.gradient_checkpointing:
            layer.training = True
            for name, value in vars(layer).items():  # dropout of the layer itself (OPT)
                if "drop" in name and isinstance(value, float):
                    setattr(layer, name, 0.0)
