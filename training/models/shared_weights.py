"""A frozen language model that shares its weights with an encoder in training.

The encoder's adapters and new rows sit in its own modules; the frozen model has modules of its own
around the same parameters, so it costs no memory, moves to a device together with the encoder, and
recomputes its layers (gradient checkpointing) without the adapters.
Invariant: the frozen model gives what the language model gave before the encoder learnt anything.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from decant.embedders.errors import need

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PreTrainedModel


def frozen_copy(language: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of a model in evaluation mode, with the same parameter objects.

    Call it before adapters are put into ``language``, and freeze the parameters that both share.
    """
    made = deepcopy(language, _kept(language.parameters()))
    made.eval()
    return made


def unshare(frozen: PreTrainedModel, backbone: nn.Module) -> PreTrainedModel:
    """Return a frozen model that no longer shares the weights into which adapters are merged.

    Merging changes weights in place, so call this before merging. It copies the weights that will
    change.

    Args:
        frozen: A model from :func:`frozen_copy`.
        backbone: The model that shares its parameters and has adapters that are not merged yet.
    """
    layers = need("peft.tuners.tuners_utils", extra="training").BaseTunerLayer
    changed = {
        id(weight)
        for layer in backbone.modules()
        if isinstance(layer, layers)
        for weight in cast("Any", layer).get_base_layer().parameters()
    }
    return deepcopy(frozen, _kept(one for one in frozen.parameters() if id(one) not in changed))


def _kept(parameters: Iterable[nn.Parameter]) -> dict[int, object]:
    """Return a memo with which :func:`copy.deepcopy` keeps these parameters instead of copying."""
    return {id(one): one for one in parameters}
