"""What a recipe changes between a decoder's layers, as values; ``pytorch`` implements it.

Neither method needs training: both use the last token's state in places that the model itself does
not connect to it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import RecipeError
from .prompt import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPrepending:
    """Token Prepending (arXiv 2412.11556, section 3): later tokens reach earlier ones.

    Before each layer from ``start`` to ``stop - 1``, the state at the prompt's slot is overwritten
    with the last token's, so that the text's tokens see a summary of what follows them.

    Args:
        start: The first layer that reads an overwritten slot; layers count from 0.
        stop: The first layer after those.
        slot: The token id of the slot, which is the vocabulary's size: no text has it. Its
            embedding is the mean of all others; the paper draws it at random.
    """

    start: int
    stop: int
    slot: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise RecipeError(
                f"token prepending needs 0 <= start < stop, got {self.start} and {self.stop}"
            )
        if self.slot < 1:
            raise RecipeError(f"the slot is the vocabulary's size, got {self.slot}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastivePrompting:
    """Contrastive Prompting (arXiv 2505.12831, section 4): an auxiliary prompt is subtracted.

    In one layer, the output A of the attention heads at the last token becomes ``strength * (A -
    B)``, where B is the same output under the auxiliary prompt ("norm scaling").

    Args:
        prompt: The auxiliary prompt; the text has the same format as in the others.
        layer: The layer; layers count from 0.
        strength: The paper's alpha.
    """

    prompt: Prompt
    layer: int
    strength: float

    def __post_init__(self) -> None:
        if self.layer < 0:
            raise RecipeError(f"layers of a contrast count from 0, got {self.layer}")
        if not 0 < self.strength < float("inf"):
            raise RecipeError(f"strength must be positive and finite, got {self.strength}")
