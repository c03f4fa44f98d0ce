"""AutoRegEmbed, stage 1: train appended tokens so that their states suffice to decode a text.

AutoRegEmbed, arXiv 2502.11401, section 3, and its code. An encoder reads a context and an
instruction. From the states of its k appended tokens, a frozen copy of the original language model
must be able to generate the output. The mean of these states is the vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, cast

from torch import Tensor

from decant.embedders import (
    AppendedTokens,
    Attention,
    Choices,
    ModelFiles,
    Prompt,
    Role,
    find_model,
)
from decant.embedders.tokens import TextTokenizer

from ..data.row import Column, TrainingExample
from ..errors import TrainingError
from ..models.gradient_checkpointing import freeze_mode
from ..models.language_model import load_with_head
from ..models.trainable import Base, Batch
from ..models.with_appended_tokens import AppendedBase, NewTokens, open_appended
from ..settings import Lora
from .objective import Inputs, Objective
from .soft_prompts import end_token, log_probabilities, target_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# U+201C is the quotation mark of the released code.
MEANS = "This sentence means in one word: \u201c"
_KEPT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionSettings:
    """Settings of stage 1.

    Args:
        tokens: How many tokens are appended, all of which are read; 5 in the paper.
        output_tokens: The most tokens of an output, its end token included; 4,096 in the authors'
            script.
        instruction: The instruction of rows that have none of their own.
    """

    tokens: int = 5
    output_tokens: int = 512
    instruction: str = MEANS

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.output_tokens < 1:
            raise TrainingError("tokens and output_tokens must be at least 1")


class Compression(Objective):
    """Information compression, stage 1 of AutoRegEmbed.

    Args:
        opened: The model, from :func:`open_compression`.
        settings: The settings that it was opened with.
        decoder: The frozen language model, from :func:`frozen_decoder` of the same folder.
    """

    needs: ClassVar[tuple[Column, ...]] = (Column.QUERY, Column.POSITIVE)
    settings: CompressionSettings

    def __init__(
        self, opened: AppendedBase, settings: CompressionSettings, decoder: PreTrainedModel
    ) -> None:
        super().__init__(opened.base, settings)
        self.opened = opened
        self.decoder = decoder
        self._end = end_token(decoder)
        self._instructed = Instructed(opened.base)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Set the mode of the encoder; the decoder stays in evaluation mode."""
        super().train(mode)
        freeze_mode(self.decoder)
        return self

    def takes_instructions(self) -> bool:
        """Return True: each row may have its own instruction."""
        return True

    def run_identity(self) -> dict[str, str]:
        """Return the decoder's revision."""
        return {"decoder": revision_of(self.decoder)}

    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Tokenise contexts, each with its instruction, and outputs."""
        instructions = [row.instruction or self.settings.instruction for row in rows]
        contexts = self._instructed.tokens([row.query for row in rows], instructions)
        ids, mask = target_tokens(
            [row.positive or "" for row in rows],
            self.base.tokenizer.bare,
            end=self._end,
            most=self.settings.output_tokens,
        )
        return {"contexts": cast("Inputs", contexts), "outputs": ids, "output_mask": mask}

    def forward(self, batch: Inputs) -> dict[str, Tensor]:
        """Return the mean cross-entropy of the outputs' tokens, in nats."""
        states = self.opened.states(cast("Batch", batch["contexts"]))
        mask = cast("Tensor", batch["output_mask"])
        found = log_probabilities(
            self.decoder,
            states,
            cast("Tensor", batch["outputs"]),
            mask,
            words=self.opened.words,
        )
        return {"loss": -found.sum() / mask.sum()}


class Instructed:
    """A tokenizer of texts, each followed by its instruction on a line of its own."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._tokenizers: dict[str, TextTokenizer] = {}

    def tokens(self, texts: Sequence[str], instructions: Sequence[str]) -> Batch:
        """Return a batch; if text and instruction are too long together, the text is cut."""
        rows = [
            self._tokenizer(instruction)([text], role=Role.QUERY)[0]
            for text, instruction in zip(texts, instructions, strict=True)
        ]
        return self._base.stacked(rows)

    def _tokenizer(self, instruction: str) -> TextTokenizer:
        if instruction not in self._tokenizers:
            if len(self._tokenizers) == _KEPT:
                self._tokenizers.pop(next(iter(self._tokenizers)))
            recipe = replace(
                self._base.training_recipe, query_prompt=Prompt(suffix=f"\n{instruction}\n")
            )
            made = TextTokenizer(self._base.tokenizer.bare, recipe)
            self._tokenizers[instruction] = made
        return self._tokenizers[instruction]


def open_compression(
    model: str | Path | ModelFiles,
    settings: CompressionSettings,
    *,
    choices: Choices | None = None,
    lora: Lora | None = None,
    seed: int = 0,
) -> AppendedBase:
    """Open a language model for :class:`Compression`.

    Its recipe has the prompt that the released code trains and evaluates with, for queries and
    passages: ``MEANS`` on a line of its own after the text, without the line break that follows it
    in training. The code has another sentence for passages, which it never trains and marks
    "ignore".

    Args:
        model: Folder or hub id of a causal language model, or its files.
        settings: How many tokens are appended.
        choices: Prompts and length that the user specifies.
        lora: Train adapters and the new tokens only; None trains every weight, as the paper does.
        seed: Seed of all new weights.

    Raises:
        RecipeError: No recipe can be made for the model, see :func:`resolve`.
        TrainingError: The model is not a causal language model.
    """
    tokens = tuple(f"<EMBED{number}>" for number in range(settings.tokens))
    appended = AppendedTokens(tokens=tokens, read=settings.tokens)
    new = NewTokens(appended=appended, lora=lora, whole=lora is None, seed=seed)
    prompt = f"{{text}}\n{MEANS}"
    prompts = Choices(query_prompt=prompt, passage_prompt=prompt)
    return open_appended(model, new, choices=(choices or Choices()).over(prompts))


def frozen_decoder(model: str | Path | ModelFiles) -> PreTrainedModel:
    """Load a causal language model with frozen weights; gradients flow through it.

    Raises:
        TrainingError: The folder does not hold a causal language model.
    """
    source = model if isinstance(model, ModelFiles) else find_model(model)
    _, language = load_with_head(source, Attention.CAUSAL)
    return language.requires_grad_(requires_grad=False)


def revision_of(model: PreTrainedModel) -> str:
    """Return the revision of the folder that a model was loaded from; '' if there is none."""
    folder = model.name_or_path
    return find_model(folder).revision if folder and Path(folder).is_dir() else ""
