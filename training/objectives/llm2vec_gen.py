"""LLM2Vec-Gen: the vector of the answer that a language model would give, read off new tokens.

"LLM2Vec-Gen" (arXiv 2603.10913), sections 3 and 4, and its code. The backbone is frozen; what
learns are the rows of N appended tokens, of which the last n are read, and two linear layers in
series: the first gives what the same language model decodes to the answer, the second what a
teacher's vector of the answer is. Nothing is between the two, so a bundle holds one layer.
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
from .contrastive import names_of, no_negatives
from .losses import info_nce, kept_apart
from .objective import Inputs, Objective
from .soft_prompts import end_token, log_probabilities, target_tokens

if TYPE_CHECKING:
    from ..data.table import TrainingDataset

_REPEAT = "Repeat this text word by word. "


@dataclass(frozen=True, slots=True, kw_only=True)
class LLM2VecGenSettings:
    """The paper's choices; the last five are its supervised extras, as its code has them.

    Args:
        total: Appended tokens. Version 2 of the paper: 10, all read; version 1: 20.
        read: How many of the last ones are read.
        align: Weight of the distance to the teacher's vector of the answer.
        reconstruct: Weight of the answer's cross-entropy.
        answer_tokens: Of an answer, its end included.
        contrast: Weight of a contrastive loss (InfoNCE, temperature 0.05): the vector of a question
            is near that of repeating its answer, and far from those of repeating other answers.
        apart: Weight of a margin: the vectors of two questions shall be ``distance`` from each
            other.
        distance: Euclidean; 10 in the code. A teacher of unit vectors wants at most 1.
        repeat: Weight of the distance to the teacher's vector of an answer when that answer is to
            be repeated (the code's prompt).
        hard_negatives: Whether the rows' negatives are questions that learn, too, each with an
            answer of its own: they are aligned, stand among the others of ``contrast`` and
            ``apart``, and are repeated.
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
    """Answers, compressed.

    Args:
        opened: What :func:`open_gen` gave.
        settings: The same as there.
        teacher: Encodes answers as passages; its vectors are taken as they are. The paper's are
            not of unit length: export such a teacher with ``normalize=False``.

    Attributes:
        language: The frozen decoder: the language model without adapters and new rows.

    Raises:
        TrainingError: The teacher's width is not that of the second layer, answers cannot end, or
            ``opened`` has no frozen decoder.
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
                "every weight of this model learns, so that it has no frozen decoder; open it with "
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
        """Set the encoder's mode; the decoder has one alone."""
        super().train(mode)
        freeze_mode(self.language)
        return self

    def write(self, folder: Path) -> None:
        """Write the trained model; the decoder stays what it was."""
        self.language = unshare(self.language, self.model.backbone)
        super().write(folder)

    def run_identity(self) -> dict[str, str]:
        """Return the digest of the teacher's recipe."""
        return {"teacher": self.teacher.recipe.digest()}

    def takes_negative_answers(self) -> bool:
        """Tell whether the settings ask for hard negatives."""
        return self.settings.hard_negatives

    def check(self, table: TrainingDataset) -> None:
        """Refuse negatives without answers where they are to learn, and what would be left out."""
        settings = self.settings
        if settings.hard_negatives:
            if not table.answered.all():
                raise DataError(
                    f"{table[int(table.answered.argmin())].place}: there is no negative with an "
                    "answer of its own (negatives and negative_answers), and hard_negatives = true"
                )
        elif settings.contrast or settings.apart:
            for row in table:
                if row.negatives:
                    raise DataError(
                        f"{row.place}: there are negatives, which need hard_negatives = true and "
                        "an answer each (negative_answers); or leave their columns out"
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
            raise TrainingError("the teacher gave vectors that are no numbers; check its bundle")
        asked = names_of([*questions, *negatives])
        own = asked[: len(rows)]
        equal = no_negatives(own, names_of(replies), own) | (asked[None, :] == own[:, None])
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
        asked = vectors  # (B + H, D), with those of the hard negatives
        if "negatives" in batch:
            asked = torch.cat([vectors, self._vectors(self._prompts(batch["negatives"]))])
        parts: dict[str, Tensor] = {}
        if settings.align:
            parts["align"] = settings.align * _distances(asked, every, count)
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
            found = kept_apart(vectors, asked, distance=settings.distance, excluded=equal)
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
        """Return what the language model decodes, (B, n, d)."""
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
    """Open a language model for :class:`LLM2VecGen`; its layers fit itself and the teacher.

    Args:
        model: A causal language model's folder, a hub id, or files already found.
        settings: How many tokens are appended and read.
        teacher: Whose width the vectors get.
        choices: What the user says of prompts and length.
        lora: Train adapters in the backbone, too (the paper's supervised variant: rank 8).
        seed: Of everything new.

    Raises:
        RecipeError: As for an export.
        TrainingError: The model is no causal language model.
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
