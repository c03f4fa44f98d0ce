"""Learn from another encoder: its vectors, or its ranking scores.

The teacher encodes each batch when the batch is made, so it can be any :class:`Encoder`, also a
certified graph on ONNX Runtime. Both encode the same texts, each with its own prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, assert_never, cast

import torch
from torch import Tensor

from decant.embedders import Encoder, Role
from decant.embedders.json_records import stored_as

from ..data.row import Column, TrainingExample
from ..errors import TrainingError
from ..models.trainable import Base, Batch
from .losses import cosines, score_divergence, vector_distance
from .objective import Inputs, Objective


class DistillationTarget(StrEnum):
    """What the student learns from its teacher.

    VECTORS: the direction of every text's vector; both models must have the same width. SCORES:
    the teacher's distribution over the passages of a batch for each query; widths may differ.
    """

    VECTORS = "vectors"
    SCORES = "scores"


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationSettings:
    """Settings of distillation.

    Args:
        lesson: What the student learns.
        temperature: Cosines are divided by it, where scores are learnt.
        mini_batch_size: Texts per forward pass with gradient caching; None: the whole batch.
    """

    lesson: DistillationTarget = DistillationTarget.VECTORS
    temperature: float = 0.05
    mini_batch_size: int | None = field(default=None, metadata=stored_as("chunk"))

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise TrainingError(f"temperature must be positive, got {self.temperature}")


class Distillation(Objective):
    """Train a student to give the vectors, or the scores, of a teacher.

    Args:
        base: The student.
        settings: Settings of the loss.
        teacher: The other encoder, which does not change.

    Raises:
        TrainingError: The student learns vectors, and its width is not the teacher's.
    """

    needs: ClassVar[tuple[Column, ...]] = (Column.QUERY,)
    settings: DistillationSettings

    def __init__(self, base: Base, settings: DistillationSettings, teacher: Encoder) -> None:
        super().__init__(base, settings)
        self.teacher = teacher
        if settings.lesson is DistillationTarget.VECTORS and teacher.dim != base.model.dim:
            raise TrainingError(
                f"the teacher's vectors have {teacher.dim} dimensions, the student's "
                f"{base.model.dim}; set lesson = 'scores', or a teacher of the student's width"
            )

    def run_identity(self) -> dict[str, str]:
        """Return the digest of the teacher's recipe."""
        return {"teacher": self.teacher.recipe.digest()}

    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Tokenise a batch for the student, and let the teacher encode it."""
        queries = [row.query for row in rows]
        passages = [row.positive for row in rows if row.positive is not None]
        passages += [text for row in rows for text in row.negatives]
        found: Inputs = {
            "queries": cast("Inputs", self.base.tokens(queries, role=Role.QUERY)),
            "taught_queries": self._taught(queries, Role.QUERY),
        }
        if passages:
            found["passages"] = cast("Inputs", self.base.tokens(passages, role=Role.PASSAGE))
            found["taught_passages"] = self._taught(passages, Role.PASSAGE)
        return found

    def _taught(self, texts: Sequence[str], role: Role) -> Tensor:
        vectors = torch.from_numpy(self.teacher.encode(texts, role=role).dense)
        if not torch.isfinite(vectors).all():
            raise TrainingError("the teacher gave NaN or infinity; check its bundle")
        return vectors

    def forward(self, batch: Inputs) -> dict[str, Tensor]:
        """Return the loss."""
        size = self.settings.mini_batch_size
        queries = self.base.vectors(cast("Batch", batch["queries"]), mini_batch_size=size)
        taught = cast("Tensor", batch["taught_queries"])
        passages = None
        if "passages" in batch:
            passages = self.base.vectors(cast("Batch", batch["passages"]), mini_batch_size=size)
        others = cast("Tensor", batch.get("taught_passages"))
        match self.settings.lesson:
            case DistillationTarget.VECTORS:
                if passages is not None:
                    queries, taught = torch.cat([queries, passages]), torch.cat([taught, others])
                return {"loss": vector_distance(queries, taught)}
            case DistillationTarget.SCORES:
                # Without passages, queries are compared with each other.
                given = queries if passages is None else passages
                wanted = taught if passages is None else others
                return {
                    "loss": score_divergence(
                        cosines(queries, given),
                        cosines(taught, wanted),
                        temperature=self.settings.temperature,
                    )
                }
            case _:
                assert_never(self.settings.lesson)
