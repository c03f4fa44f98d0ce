"""Where a Transformers model starts to count positions, and how far its rotary angles hold.

Positions come from the mask, never from the column, so that either padding side gives the same
vectors; what is here are the exceptions of single architectures. RoBERTa and its kin count only ids
that are not their padding token's, so that one that stands in a text as a word counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import RecipeError
from .architectures import architecture

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

# Their angles change for a whole batch as soon as one text is long enough.
_CHANGING = {"dynamic", "longrope"}


def first_position(kind: object, padding: object) -> int:
    """Return the position of a text's first token.

    Args:
        kind: The ``model_type`` of a configuration.
        padding: Its ``pad_token_id``; what is no number is the default of RoBERTa, 1.
    """
    own = architecture(kind).first_position
    return own if own is not None else 1 + (padding if isinstance(padding, int) else 1)


def uncounted_id(kind: object, padding: object) -> int | None:
    """Return the id that positions leave out wherever it stands in a text; None: each id counts.

    Args:
        kind: As for :func:`first_position`.
        padding: As for :func:`first_position`.
    """
    # transformers: create_position_ids_from_input_ids. It cannot tell padding from such a word.
    counted = architecture(kind).counts_padding
    return None if counted else first_position(kind, padding) - 1


def longest_text(kind: object, padding: object, positions: int) -> int:
    """Return how many tokens fit: RoBERTa's 514 embeddings hold 512.

    Args:
        kind: As for :func:`first_position`.
        padding: As for :func:`first_position`.
        positions: ``max_position_embeddings``.
    """
    counted = architecture(kind).counts_padding
    return positions if counted else positions - first_position(kind, padding)


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
