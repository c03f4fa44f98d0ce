"""Generate answers to texts in batches with a causal language model.

Prompts are padded on the left, and an answer ends where the model ends its turn. Invariant: greedy
answers do not depend on the other texts of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never, cast

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import GenerationConfig

from decant.embedders import Attention, ModelFiles, find_model
from decant.embedders.sources import chat_template, conversation
from decant.embedders.tokens import load_tokenizer

from ..errors import TrainingError
from ..models.language_model import load_with_head
from ..settings import MixedPrecision
from .generation_settings import SLOT, Answer, GenerationSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_FILLER = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prompt:
    ids: list[int]
    cut: bool


class TextGenerator:
    """A language model with its tokenizer and, if there is one, its chat template.

    Args:
        source: The files that the model was loaded from.
        model: The model with its head, in evaluation mode.
        tokenizer: Its tokenizer.
        chat: The tokenizer of Transformers with a chat template; None: the model has none.
        precision: The precision of its weights.
    """

    def __init__(
        self,
        source: ModelFiles,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        *,
        chat: PreTrainedTokenizerFast | None,
        precision: MixedPrecision,
    ) -> None:
        self.source = source
        self.precision = precision
        self._model = model
        self._tokenizer = tokenizer
        self._chat = chat
        self._own = model.generation_config
        self._ends = _ends(model, self._own)

    @classmethod
    def open(
        cls, model: str | Path, *, precision: MixedPrecision = MixedPrecision.FP32
    ) -> TextGenerator:
        """Load a folder or hub model, on the GPU if there is one.

        Args:
            model: A causal language model with its head.
            precision: Precision of weights and products; ``bf16`` and ``fp16`` are for GPUs.

        Raises:
            RecipeError: The model cannot be found.
            TrainingError: The model is not a causal language model.
        """
        source = find_model(model)
        _, whole = load_with_head(source, Attention.CAUSAL)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        whole.requires_grad_(requires_grad=False)
        cast("nn.Module", whole).to(device, _dtype(precision))
        tokenizer = load_tokenizer(source.folder)
        chat = chat_template(source.folder, tokenizer)
        return cls(source, whole, tokenizer, chat=chat, precision=precision)

    def answer(
        self, texts: Sequence[str], generating: GenerationSettings, *, seed: int
    ) -> list[Answer]:
        """Return the model's answer to each text, in order.

        Args:
            texts: One batch.
            generating: Prompt, lengths and sampling.
            seed: Seed of this batch's sampling.

        Raises:
            TrainingError: A prompt does not fit into the model together with its answer, or the
                settings require a chat template and there is none.
        """
        prompts = [self.prompt(text, generating) for text in texts]
        longest = max(len(prompt.ids) for prompt in prompts)
        ids = torch.full((len(prompts), longest), _FILLER)  # (B, T)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt.ids) :] = torch.tensor(prompt.ids)
            mask[row, longest - len(prompt.ids) :] = 1
        device = self._model.device
        # Transformers takes all settings that a call leaves out from here.
        self._model.generation_config = self._config(generating)
        torch.manual_seed(seed)
        with torch.inference_mode():
            found = self._model.generate(  # type: ignore[operator]
                input_ids=ids.to(device), attention_mask=mask.to(device)
            )
        answers: list[list[int]] = found[:, longest:].tolist()
        return [
            Answer(query=text, response=self._text(row), cut=prompt.cut)
            for text, row, prompt in zip(texts, answers, prompts, strict=True)
        ]

    def prompt(self, text: str, generating: GenerationSettings) -> _Prompt:
        """Return the tokens of one text's prompt; the text is cut at its end until they fit."""
        limit = generating.max_tokens
        positions = getattr(self._model.config, "max_position_embeddings", None)
        if positions is not None:
            limit = min(limit, positions - generating.max_new_tokens)
        pieces = self._tokenizer.encode(text, add_special_tokens=False)
        ids = self._ids(text, generating)
        kept = len(pieces.ids)
        while len(ids) > limit:
            kept -= max(1, len(ids) - limit)
            if kept < 1:
                raise TrainingError(
                    f"no text fits into the prompt: {self.source.base} takes {positions} tokens, "
                    f"prompts up to {generating.max_tokens}, and an answer may take "
                    f"{generating.max_new_tokens}; lower max_new_tokens, shorten the template, or "
                    "raise max_tokens"
                )
            # A token may be part of a character; its end is then that of the character.
            ids = self._ids(text[: pieces.offsets[kept - 1][1]], generating)
        return _Prompt(ids=ids, cut=kept < len(pieces.ids))

    def _ids(self, text: str, generating: GenerationSettings) -> list[int]:
        prompt = text
        if generating.template is not None:
            prompt = generating.template.replace(SLOT, text)
        chat = generating.chat
        if chat is None:
            chat = self._chat is not None and generating.template is None
        if not chat:
            found = self._tokenizer.encode(prompt)
            count = len(found.ids)
            # Some tokenizers end every input with EOS, after which the model would not answer.
            while (
                count
                and found.special_tokens_mask[count - 1]
                and found.ids[count - 1] in self._ends
            ):
                count -= 1
            return found.ids[:count]
        if self._chat is None:
            raise TrainingError(
                f"{self.source.base} has no chat template; leave chat out, and give a template "
                "with the question"
            )
        # Without thinking, as LLM2Vec-Gen's data.
        whole = conversation(self._chat, prompt)
        return self._tokenizer.encode(whole, add_special_tokens=False).ids

    def _config(self, generating: GenerationSettings) -> GenerationConfig:
        config = deepcopy(self._own) if generating.sample else GenerationConfig()
        config.do_sample = generating.sample
        config.num_beams = 1
        config.max_new_tokens = generating.max_new_tokens
        config.max_length = None
        config.eos_token_id = sorted(self._ends) or None
        config.pad_token_id = _FILLER
        return config

    def _text(self, ids: Sequence[int]) -> str:
        end = next((at for at, one in enumerate(ids) if one in self._ends), len(ids))
        return self._tokenizer.decode(list(ids[:end])).strip()


def _ends(model: PreTrainedModel, own: GenerationConfig) -> set[int]:
    ids: list[int | list[int] | None] = [model.config.eos_token_id, own.eos_token_id]
    flat = [one for item in ids for one in (item if isinstance(item, list) else [item])]
    return {one for one in flat if one is not None}


def _dtype(precision: MixedPrecision) -> torch.dtype:
    match precision:
        case MixedPrecision.FP32:
            return torch.float32
        case MixedPrecision.BF16:
            return torch.bfloat16
        case MixedPrecision.FP16:
            return torch.float16
        case _:
            assert_never(precision)
