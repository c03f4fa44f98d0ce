"""LLM2Vec-Gen: embed a text as the answer that a language model would give to it.

"LLM2Vec-Gen" (arXiv 2603.10913), sections 3 and 4, and its code. The backbone is frozen. Trained
are the embeddings of N appended tokens, of which the last n are read, and two linear layers in
series: from the output of the first, the same language model decodes the answer; the output of the
second approximates a teacher's vector of the answer. There is nothing between the two layers, so a
bundle holds one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from decant.embedders import AppendedTokens, Choices, Dense, Encoder, ModelFiles, Prompt, Role
from decant.embedders.tokens import TextTokenizer

from ..data.row import Column, TrainingExample
from ..errors import DataError, TrainingError
from ..models.gradient_checkpointing import freeze_mode
from ..models.shared_weights import unshare
from ..models.trainable import Batch
from ..models.with_appended_tokens import AppendedBase, NewTokens, open_appended
from ..settings import Lora
from .contrastive import false_negatives, hashes_of
from .losses import info_nce, margin_loss
from .objective import Inputs, Objective
from .soft_prompts import end_token, log_probabilities, target_tokens

if TYPE_CHECKING:
    from ..data.table import TrainingDataset

_REPEAT = "Repeat this text word by word. "


@dataclass(frozen=True, slots=True, kw_only=True)
class LLM2VecGenSettings:
    """Settings of the paper; the last five are its supervised extras, as in its code.

    Args:
        total: How many tokens are appended: 10 in version 2 of the paper, 20 in version 1.
        read: How many of them are read, counted from the end; all in version 2 of the paper.
        align: Weight of the distance to the teacher's vector of the answer.
        reconstruct: Weight of the answer's cross-entropy.
        answer_tokens: The most tokens of an answer, its end token included.
        contrast: Weight of a contrastive loss (InfoNCE, temperature 0.05) that moves a question's
            vector near that of repeating its answer, and away from those of other answers.
        apart: Weight of a margin loss that keeps the vectors of two questions at least ``distance``
            apart.
        distance: That Euclidean distance; 10 in the code. For a teacher of unit vectors, at most 1.
        repeat: Weight of the distance between the teacher's vector of an answer and the vector of a
            prompt that asks to repeat that answer (the code's prompt).
        hard_negatives: Also train on the negatives of the rows, which are questions with an answer
            of their own: they are aligned and repeated, and serve as negatives of ``contrast`` and
            ``apart``.
    """

    total: int = 10
    read: int = 10
    align: float = 1.0
    reconstruct: float = 1.0
    answer_tokens: int = 512
    contrast: float = 0.0
    apart: float = 0.0
    distance: float = 10.0
    repeat: float = 0.0
    hard_negatives: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.read <= self.total:
            raise TrainingError(f"1 <= read <= total, got read={self.read} and total={self.total}")
        weights = (self.align, self.reconstruct, self.contrast, self.apart, self.repeat)
        if min(weights) < 0:
            raise TrainingError("weights must not be negative")
        if not any(weights):
            raise TrainingError(
                "one of align, reconstruct, contrast, apart and repeat must have a weight"
            )
        if self.distance <= 0:
            raise TrainingError(f"distance must be positive, got {self.distance}")
        if self.answer_tokens < 1:
            raise TrainingError(f"answer_tokens must be at least 1, got {self.answer_tokens}")


class LLM2VecGen(Objective):
    """Train appended tokens to hold the answer to a text.

    Args:
        opened: The model, from :func:`open_gen`.
        settings: The settings that it was opened with.
        teacher: The encoder of the answers, which it encodes as passages. Its vectors are used
            unchanged; the paper's do not have unit length, so export such a teacher with
            ``normalize=False``.

    Attributes:
        language: The frozen decoder: the language model without adapters and new tokens.

    Raises:
        TrainingError: The teacher's width is not that of the second layer, the language model has
            no end token, or ``opened`` has no frozen decoder.
    """

    needs: ClassVar[tuple[Column, ...]] = (Column.QUERY, Column.POSITIVE)
    settings: LLM2VecGenSettings

    def __init__(
        self, opened: AppendedBase, settings: LLM2VecGenSettings, teacher: Encoder
    ) -> None:
        super().__init__(opened.base, settings)
        self.opened = opened
        self.teacher = teacher
        if opened.decoder is None:
            raise TrainingError(
                "every weight of this model is trained, so it has no frozen decoder; open it with "
                "open_gen"
            )
        self.language = opened.decoder
        if teacher.dim != self.model.dim:
            raise TrainingError(
                f"the teacher's vectors have {teacher.dim} dimensions, the second layer gives "
                f"{self.model.dim}; open the model for this teacher"
            )
        self._end = end_token(self.language)
        linears = [layer for layer in self.model.head if isinstance(layer, nn.Linear)]
        self.reconstruction, self.alignment = linears
        self._repeating: TextTokenizer | None = None
        if settings.repeat or settings.contrast:
            recipe = replace(opened.base.training_recipe, query_prompt=Prompt(prefix=_REPEAT))
            self._repeating = TextTokenizer(opened.base.tokenizer.bare, recipe)

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's signature
        """Set the mode of the encoder; the decoder stays in evaluation mode."""
        super().train(mode)
        freeze_mode(self.language)
        return self

    def write(self, folder: Path) -> None:
        """Write the trained model; the decoder does not change."""
        self.language = unshare(self.language, self.model.backbone)
        super().write(folder)

    def run_identity(self) -> dict[str, str]:
        """Return the digest of the teacher's recipe."""
        return {"teacher": self.teacher.recipe.digest()}

    def takes_negative_answers(self) -> bool:
        """Return whether the settings use hard negatives."""
        return self.settings.hard_negatives

    def check(self, table: TrainingDataset) -> None:
        """Refuse hard negatives without answers, and negatives that would not be used."""
        settings = self.settings
        if settings.hard_negatives:
            if not table.answered.all():
                raise DataError(
                    f"{table[int(table.answered.argmin())].place}: there is no negative with an "
                    "answer of its own (negatives and negative_answers), which "
                    "hard_negatives = true needs"
                )
        elif settings.contrast or settings.apart:
            for row in table:
                if row.negatives:
                    raise DataError(
                        f"{row.place}: negatives are used with hard_negatives = true only, and "
                        "each needs an answer (negative_answers); or leave their columns out"
                    )

    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Tokenise questions and answers, and let the teacher encode the answers."""
        settings = self.settings
        questions = [row.query for row in rows]
        answers = [(row.positive or "").strip() for row in rows]
        negatives: list[str] = []
        replies = list(answers)
        if settings.hard_negatives:
            negatives = [text for row in rows for text in row.negatives]
            replies += [text.strip() for row in rows for text in row.negative_answers]
        ids, mask = target_tokens(
            answers,
            self.base.tokenizer.bare,
            end=self._end,
            most=settings.answer_tokens,
        )
        taught = self.teacher.encode(replies, role=Role.PASSAGE).dense
        if not np.isfinite(taught).all():
            raise TrainingError("the teacher gave NaN or infinity; check its bundle")
        hashes = hashes_of([*questions, *negatives])
        own = hashes[: len(rows)]
        equal = false_negatives(own, hashes_of(replies), own) | (hashes[None, :] == own[:, None])
        found: Inputs = {
            "questions": cast("Inputs", self.base.tokens(questions, role=Role.QUERY)),
            "answers": ids,
            "answer_mask": mask,
            "taught": torch.from_numpy(taught),
            "equal": equal,
        }
        if negatives:
            found["negatives"] = cast("Inputs", self.base.tokens(negatives, role=Role.QUERY))
        if self._repeating is not None:
            rows_again = self._repeating(replies, role=Role.QUERY)
            found["repeated"] = cast("Inputs", self.base.stacked(rows_again))
        return found

    def forward(self, batch: Inputs) -> dict[str, Tensor]:
        """Return the loss and its parts."""
        settings = self.settings
        prompts = self._prompts(batch["questions"])
        vectors = self._vectors(prompts)  # (B, D)
        every, equal = cast("Tensor", batch["taught"]), cast("Tensor", batch["equal"])
        count = len(vectors)
        all_questions = vectors  # (B + H, D), with those of the hard negatives
        if "negatives" in batch:
            all_questions = torch.cat([vectors, self._vectors(self._prompts(batch["negatives"]))])
        parts: dict[str, Tensor] = {}
        if settings.align:
            parts["align"] = settings.align * _distances(all_questions, every, count)
        if settings.reconstruct:
            mask = cast("Tensor", batch["answer_mask"])
            found = log_probabilities(
                self.language,
                prompts,
                cast("Tensor", batch["answers"]),
                mask,
                words=self.opened.words,
            )
            parts["reconstruct"] = -settings.reconstruct * found.sum() / mask.sum()
        if settings.apart:
            found = margin_loss(vectors, all_questions, distance=settings.distance, excluded=equal)
            parts["apart"] = settings.apart * found
        if "repeated" in batch:
            again = self._vectors(self._prompts(batch["repeated"]))  # (B + H, D)
            if settings.contrast:
                found = info_nce(vectors, again, temperature=0.05, excluded=equal)
                parts["contrast"] = settings.contrast * found
            if settings.repeat:
                parts["repeat"] = settings.repeat * _distances(again, every, count)
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def _prompts(self, batch: Tensor | Inputs) -> Tensor:
        """Return the soft prompt from which the language model decodes, (B, n, d)."""
        found: Tensor = self.reconstruction(self.opened.states(cast("Batch", batch)))
        return found

    def _vectors(self, prompts: Tensor) -> Tensor:
        found: Tensor = self.alignment(prompts.mean(1))
        return found


def _distances(vectors: Tensor, taught: Tensor, count: int) -> Tensor:
    """Return the mean squared difference of the first ``count`` rows, plus that of the others."""
    found = functional.mse_loss(vectors[:count], taught[:count])
    if len(vectors) == count:
        return found
    return found + functional.mse_loss(vectors[count:], taught[count:])


def open_gen(
    model: str | Path | ModelFiles,
    settings: LLM2VecGenSettings,
    teacher: Encoder,
    *,
    choices: Choices | None = None,
    lora: Lora | None = None,
    seed: int = 0,
) -> AppendedBase:
    """Open a language model for :class:`LLM2VecGen`, with linear layers that fit the teacher.

    Args:
        model: Folder or hub id of a causal language model, or its files.
        settings: How many tokens are appended and read.
        teacher: The teacher, whose width the vectors get.
        choices: Prompts and length that the user specifies.
        lora: Also train adapters in the backbone (the paper's supervised variant: rank 8).
        seed: Seed of all new weights.

    Raises:
        RecipeError: No recipe can be made for the model, see :func:`resolve`.
        TrainingError: The model is not a causal language model.
    """

    def head(width: int) -> tuple[Dense, ...]:
        return (
            Dense(path="2_Reconstruction", inputs=width, outputs=width),
            Dense(path="3_Alignment", inputs=width, outputs=teacher.dim),
        )

    tokens = tuple(f"<question{number}>" for number in range(1, settings.total + 1))
    appended = AppendedTokens(tokens=tokens, read=settings.read, decoded=1)
    new = NewTokens(appended=appended, head=head, lora=lora, seed=seed)
    return open_appended(model, new, choices=choices)
