"""A frozen language model beside an encoder that learns, made of the same weights.

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
    """Return a copy of a model, in evaluation, whose parameters are the model's own objects.

    Call it before adapters are put into ``language``, and freeze the parameters that both share.
    """
    made = deepcopy(language, _kept(language.parameters()))
    made.eval()
    return made


def unshare(frozen: PreTrainedModel, backbone: nn.Module) -> PreTrainedModel:
    """Return a frozen model that no longer shares the weights into which adapters are merged.

    Merging changes weights in place; call this before it. It copies what is changed.

    Args:
        frozen: What :func:`frozen_copy` gave.
        backbone: Has adapters, not merged yet, beside the parameters that it shares.
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
    """Return what makes :func:`copy.deepcopy` take these parameters over as they are."""
    return {id(one): one for one in parameters}
