"""Log-probabilities of a text under a frozen language model, with states as its soft prompt.

The states take the first positions of the input; the last of them predicts the text's first token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import TrainingError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel


def target_tokens(
    texts: Sequence[str], tokenizer: Tokenizer, *, end: int, most: int
) -> tuple[Tensor, Tensor]:
    """Tokenise the texts that are predicted, each with its end token.

    Args:
        texts: B texts; a text of more than ``most`` tokens is cut and has no end token.
        tokenizer: The tokenizer, which adds no special tokens here.
        end: The id of the end token.
        most: The most tokens of a text, its end token included.

    Returns:
        Ids and mask, int64 (B, L), padded on the right.
    """
    rows = [
        [*encoding.ids, end][:most]
        for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)
    ]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [end] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def log_probabilities(
    language: PreTrainedModel, states: Tensor, ids: Tensor, mask: Tensor, *, words: int
) -> Tensor:
    """Return ``log p(y_j | states, y_<j)`` for each token of each text, float32 (B, L).

    Args:
        language: The model; gradients flow through it to the states.
        states: (B, n, d).
        ids: int64 (B, L).
        mask: int64 (B, L); where it is 0 the result is 0.
        words: The size of the vocabulary without appended tokens, whose logits do not count.
    """
    count = states.shape[1]
    embedded: Tensor = language.get_input_embeddings()(ids)
    inputs = torch.cat([states.to(embedded.dtype), embedded], dim=1)  # (B, n + L, d)
    seen = torch.cat([mask.new_ones(states.shape[:2]), mask], dim=1)
    logits: Tensor = language(inputs_embeds=inputs, attention_mask=seen, use_cache=False).logits
    given = logits[:, count - 1 : -1, :words].float()  # (B, L, V)
    chosen = functional.log_softmax(given, dim=-1).gather(2, ids.unsqueeze(2)).squeeze(2)
    return chosen * mask


def end_token(language: PreTrainedModel) -> int:
    """Return the id of a language model's end token.

    Raises:
        TrainingError: Its configuration does not name one.
    """
    named = (language.generation_config, language.config)
    ids = [getattr(part, "eos_token_id", None) for part in named]
    found = next((one for one in ids if one not in (None, [])), None)
    if isinstance(found, list):
        found = found[0]
    if not isinstance(found, int):
        raise TrainingError(
            "the language model's config.json names no eos_token_id, so no text would end; add it"
        )
    return found
