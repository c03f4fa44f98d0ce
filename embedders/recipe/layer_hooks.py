"""What a recipe changes between a decoder's layers, as values; ``pytorch`` carries it out.

Both need no training: they hand the last token's state to where the model does not send it itself.
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
        stop: The first layer that does not any more.
        slot: The token id of the slot, which is the vocabulary's size: no text has it. Its
            embedding is the mean of all others, where the paper draws it at random.
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
    """Contrastive Prompting (arXiv 2505.12831, section 4): what an auxiliary prompt says goes.

    In one layer, what the attention heads give at the last token, A, becomes
    ``strength * (A - B)``, where B is the same under the auxiliary prompt ("norm scaling").

    Args:
        prompt: The auxiliary prompt; the text is worded as in the others.
        layer: Which layer; layers count from 0.
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
