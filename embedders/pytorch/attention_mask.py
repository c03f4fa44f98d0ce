"""Make a Transformers model attend as its recipe specifies, and check that it does.

A wrong direction of attention gives plausible vectors and no error, so it is tested: two short
inputs that differ in their last token separate the two kinds exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..errors import RecipeError
from ..recipe.enums import Attention

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Gemma 3's masks read this switch of the configuration (modeling_gemma3:
# use_bidirectional_attention). Its window is then half of the file's number and exclusive: |i - j|
# <= 256 for 512.
_OWN_SWITCH = {"gemma3_text"}


def apply_attention(config: PretrainedConfig, attention: Attention) -> None:
    """Make Transformers build the attention mask of the recipe.

    Transformers' mask functions turn a causal mask into a bidirectional one where
    ``config.is_causal`` is false (``masking_utils.create_causal_mask``); encoders ignore it. A
    sliding window then reaches ``sliding_window`` tokens to either side.
    """
    if attention is Attention.CAUSAL:
        if getattr(config, "is_causal", True) is False:
            config.is_causal = True
        return
    own = getattr(config, "use_bidirectional_attention", False) is True
    # With both switches Gemma 3 would count its halved window inclusively, one token too far.
    if not (own and config.model_type in _OWN_SWITCH):
        config.is_causal = False


def check_attention(model: PreTrainedModel, attention: Attention) -> None:
    """Run two inputs of two tokens and compare the states of the first.

    Args:
        model: In evaluation mode; it runs twice.
        attention: The recipe's direction.

    Raises:
        RecipeError: The model attends the other way.
    """
    vocabulary: int = model.config.vocab_size
    first, one, other = 0, vocabulary // 3, 2 * vocabulary // 3
    mask = torch.ones((1, 2), dtype=torch.int64)
    with torch.inference_mode():
        states = [
            model(input_ids=torch.tensor([[first, last]]), attention_mask=mask).last_hidden_state
            for last in (one, other)
        ]
    # The shapes and sums are the same, so a token that is not seen changes no bit of a state.
    sees = not torch.equal(states[0][0, 0], states[1][0, 0])
    found = Attention.BIDIRECTIONAL if sees else Attention.CAUSAL
    if found is not attention:
        raise RecipeError(
            f"the recipe says {attention} attention, but this {model.config.model_type} model "
            f"attends {'to later tokens' if sees else 'to earlier tokens only'}; pass "
            f"attention={found.value!r}, or another model"
        )
