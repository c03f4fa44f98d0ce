"""Training on pairs with scores: order their cosines as the scores are ordered (CoSENT)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from decant.embedders import Role
from decant.embedders.json_records import stored_as

from ..data.row import Column, TrainingExample
from ..errors import DataError, TrainingError
from ..models.trainable import Base, Batch
from .losses import cosent
from .objective import Inputs, Objective

if TYPE_CHECKING:
    from ..data.table import TrainingDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class CoSENTSettings:
    """Settings of CoSENT.

    Args:
        temperature: Cosines are divided by it.
        mini_batch_size: Texts per forward pass with gradient caching; None: the whole batch.
    """

    temperature: float = 0.05
    mini_batch_size: int | None = field(default=None, metadata=stored_as("chunk"))

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise TrainingError(f"temperature must be positive, got {self.temperature}")


class CoSENT(Objective):
    """Give pairs of a higher score a higher cosine than pairs of a lower score in the batch.

    Both texts are encoded as queries, as in the evaluation of STS.

    Args:
        base: The model.
        settings: Settings of the loss.
    """

    needs: ClassVar[tuple[Column, ...]] = (Column.QUERY, Column.POSITIVE, Column.SCORE)
    settings: CoSENTSettings

    def __init__(self, base: Base, settings: CoSENTSettings) -> None:
        super().__init__(base, settings)

    def check(self, table: TrainingDataset) -> None:
        """Refuse scores that are all equal."""
        if len(np.unique(table.scores)) < 2:
            raise DataError(
                f"{', '.join(map(str, table.paths))}: all scores are {table.scores[0]}, so there "
                "is no order to learn; give pairs with different scores"
            )

    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Tokenise both sides of a batch."""
        first = self.base.tokens([row.query for row in rows], role=Role.QUERY)
        second = self.base.tokens([row.positive or "" for row in rows], role=Role.QUERY)
        return {
            "first": cast("Inputs", first),
            "second": cast("Inputs", second),
            "scores": torch.tensor([row.score or 0.0 for row in rows], dtype=torch.float32),
        }

    def forward(self, batch: Inputs) -> dict[str, Tensor]:
        """Return the loss."""
        size = self.settings.mini_batch_size
        first = self.base.vectors(cast("Batch", batch["first"]), mini_batch_size=size)
        second = self.base.vectors(cast("Batch", batch["second"]), mini_batch_size=size)
        near = functional.cosine_similarity(first.float(), second.float(), dim=-1)
        scores = cast("Tensor", batch["scores"])
        return {"loss": cosent(near, scores, temperature=self.settings.temperature)}
