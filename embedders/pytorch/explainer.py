"""Decode soft tokens: the text that a frozen language model continues with, and the nearest tokens.

Soft tokens replace token embeddings in the input of a language model, which decodes greedily from
there (AutoRegEmbed, arXiv 2502.11401, section 3.1; LLM2Vec-Gen, arXiv 2603.10913, section 3). A
model that was not trained for it gives text without sense, which this module cannot detect.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import GenerationConfig

from ..errors import ExplanationError, RecipeError
from ..recipe.enums import Attention
from ..sources.find import find_model
from ..tokens.load import load_tokenizer
from .attention_mask import check_attention
from .backbone import load_language_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# LLM2Vec-Gen also ends at these tokens of Llama 3 and Qwen (its code: ids 128001 and 151643),
# because chat models name only the end of a turn as their end.
_ENDS = ("<|end_of_text|>", "<|endoftext|>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The decoded soft tokens of one vector.

    Args:
        text: The language model's continuation of the states, without special tokens.
        tokens: For each of the n states, its nearest tokens, nearest first.
    """

    text: str
    tokens: tuple[tuple[str, ...], ...]


class Explainer:
    """Decodes states with a frozen causal language model.

    Args:
        model: The language model from which the embedder was trained, with its head, in evaluation
            mode.
        tokenizer: The language model's own tokenizer.

    Raises:
        RecipeError: The model has no head, or one that is not a single matrix.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Tokenizer) -> None:
        head = model.get_output_embeddings()
        if not isinstance(head, nn.Linear):
            kind = model.config.model_type
            raise RecipeError(f"a {kind!r} model has no language-model head to decode with")
        self._model = model
        self._head = head
        self._tokenizer = tokenizer
        embeddings = cast("nn.Embedding", model.get_input_embeddings())
        self._width = embeddings.embedding_dim
        # The model's own settings may sample, penalise or stop early; here only the states decide.
        model.generation_config = GenerationConfig(
            do_sample=False,
            num_beams=1,
            eos_token_id=_ends(model, tokenizer) or None,
            pad_token_id=0,
        )

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Explainer:
        """Load a Transformers folder or hub model, in float32.

        Raises:
            RecipeError: It does not exist, is no causal language model, or lacks its head.
        """
        # Hashing a folder's weights, as find_model does, would read all of them once more.
        found = Path(folder) if Path(folder).is_dir() else find_model(folder).folder
        try:
            backbone, whole = load_language_model(found, Attention.CAUSAL)
            check_attention(backbone, Attention.CAUSAL)
        except RecipeError as error:
            raise RecipeError(
                f"{folder} cannot decode states; that needs a causal language model with its "
                f"head: {error}"
            ) from error
        return cls(whole.requires_grad_(requires_grad=False), load_tokenizer(found))

    @property
    def width(self) -> int:
        """The width d' of the states that it takes."""
        return self._width

    def explain(
        self, states: NDArray[np.float32], *, max_new_tokens: int = 256, top: int = 5
    ) -> Explanation:
        """Decode the soft tokens of one vector.

        Args:
            states: float32, shape ``(n, d')``, one row of :attr:`Vectors.soft_tokens`.
            max_new_tokens: The longest text, in the language model's tokens.
            top: How many tokens to name for each state: those of the largest logits that the head
                gives it (the logit lens).

        Raises:
            ExplanationError: The states have another shape or width or are not finite, or a number
                is below 1.
        """
        given = self._checked(states)
        if max_new_tokens < 1 or top < 1:
            raise ExplanationError(
                "max_new_tokens and top must be at least 1, got "
                f"max_new_tokens={max_new_tokens} and top={top}"
            )
        with torch.inference_mode():
            embedded = torch.from_numpy(given).to(self._head.weight)  # (n, d')
            logits: Tensor = self._head(embedded)  # (n, V)
            nearest: list[list[int]] = logits.topk(min(top, logits.shape[1])).indices.tolist()
            said = self._model.generate(  # type: ignore[operator]
                inputs_embeds=embedded[None],
                attention_mask=torch.ones((1, len(given)), dtype=torch.int64).to(embedded.device),
                max_new_tokens=max_new_tokens,
            )
        return Explanation(
            text=self._tokenizer.decode(said[0].tolist()),
            tokens=tuple(tuple(map(self._name, row)) for row in nearest),
        )

    def _checked(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        given = np.array(states, np.float32)
        if given.ndim != 2 or not len(given):
            raise ExplanationError(
                f"states of one vector have shape (n, d'), got {given.shape}; explain them one by "
                "one"
            )
        if given.shape[1] != self._width:
            raise ExplanationError(
                f"the states are {given.shape[1]} wide and the language model takes {self._width}; "
                "give the one from which the embedder was trained"
            )
        if not np.isfinite(given).all():
            raise ExplanationError(
                "the states hold NaN or infinity; check the encoder on this text"
            )
        return given

    def _name(self, token: int) -> str:
        # Models round their vocabularies up, so some ids have no token.
        return self._tokenizer.decode([token], skip_special_tokens=False) or f"<{token}>"


def _ends(model: PreTrainedModel, tokenizer: Tokenizer) -> list[int]:
    said = [model.config.eos_token_id]
    if model.generation_config is not None:
        said.append(model.generation_config.eos_token_id)
    said += [tokenizer.token_to_id(token) for token in _ENDS]
    flat = [one for item in said for one in (item if isinstance(item, list) else [item])]
    return sorted({one for one in flat if one is not None})
