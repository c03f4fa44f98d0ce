"""Where a Transformers model starts to count positions, and how far its rotary angles hold.

Positions come from the mask, never from the column, so that either padding side gives the same
vectors; what is here are the exceptions of single architectures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .errors import RecipeError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

# These count from padding_idx + 1 on (transformers: create_position_ids_from_input_ids).
_OFFSET_POSITIONS = {"camembert", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"}
# Their angles change for a whole batch as soon as one text is long enough.
_CHANGING = {"dynamic", "longrope"}


def first_position(model: PreTrainedModel) -> int:
    """Return the position of a text's first token."""
    if model.config.model_type not in _OFFSET_POSITIONS:
        return 0
    # MPNet's is 1 whatever its configuration says, RoBERTa's is the padding token's id.
    padding = getattr(model.get_submodule("embeddings"), "padding_idx", None)
    assert isinstance(padding, int)
    return padding + 1


def settle_rotary(model: PreTrainedModel, max_tokens: int) -> None:
    """Keep rotary angles at those of short texts, which is what texts up to the limit get anyway.

    Transformers recomputes the angles of LongRoPE (Phi-3 128k) and dynamic NTK models from the
    longest text of a batch (``modeling_rope_utils.dynamic_rope_update``).

    Raises:
        RecipeError: ``max_tokens`` lies beyond the limit: vectors would depend on neighbours.
    """
    for part in model.modules():
        kinds = getattr(part, "rope_type", None)
        if isinstance(kinds, str) and any(kind in kinds for kind in _CHANGING):
            limit = _limit(model)
            if max_tokens > limit:
                raise RecipeError(
                    f"{kinds} rotary angles of this {model.config.model_type} model change for a "
                    f"whole batch when one text exceeds {limit} tokens, so vectors would depend on "
                    f"their neighbours; pass max_tokens={limit} or less, got {max_tokens}"
                )
            _hold(part)


def _limit(model: PreTrainedModel) -> int:
    parameters = model.config.rope_parameters
    assert isinstance(parameters, Mapping)
    limit = parameters.get("original_max_position_embeddings")
    return int(limit or model.config.max_position_embeddings)


def _hold(part: nn.Module) -> None:
    """The buffers hold the angles of short texts; under this name nothing updates them."""
    vars(part)["rope_type"] = "default"
