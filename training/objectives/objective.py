"""What every training method is: modules, what it makes of rows, and a loss.

An objective knows nothing of loops, devices or checkpoints. What is random in it happens in
``forward``, with torch's own generator, which checkpoints restore; ``collate`` draws nothing, so
that a resumed run makes the same batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from decant.embedders import Role

from ..data.row import Column, TrainingExample
from ..models.trainable import Base

if TYPE_CHECKING:
    from decant.embedders import TorchEncoder

    from ..data.table import TrainingDataset

Inputs = dict[str, "Tensor | Inputs"]
"""A batch: tensors by name, nested as the objective likes."""


class Objective(nn.Module, ABC):
    """One training method with its modules and settings.

    Args:
        base: The embedder that is trained.
        settings: A dataclass; a run is resumed only with equal ones.

    Attributes:
        needs: Fields that every row must have.
        settings: What it was made with.
    """

    needs: ClassVar[tuple[Column, ...]]
    settings: Any  # each method names its own dataclass

    def __init__(self, base: Base, settings: object) -> None:
        super().__init__()
        self.base = base
        self.model = base.model
        self.settings = settings

    @abstractmethod
    def collate(self, rows: Sequence[TrainingExample]) -> Inputs:
        """Return one batch of rows as tensors; the same rows give the same tensors."""

    @abstractmethod
    def forward(self, batch: Inputs) -> dict[str, Tensor]:
        """Return ``loss``, a scalar, and the parts that it is made of, for the log."""

    def takes_instructions(self) -> bool:
        """Tell whether rows may have an instruction; data that have one are refused otherwise."""
        return False

    def takes_negative_answers(self) -> bool:
        """Tell whether negatives may have answers; data that have them are refused otherwise."""
        return False

    def check(self, table: TrainingDataset) -> None:
        """Refuse data from which nothing can be learnt, before the first step.

        Raises:
            DataError: Says what is wrong and what to do.
        """

    def run_identity(self) -> dict[str, str]:
        """Return what else decides a run: the other models in it, by what they are to it.

        Each with what tells it from others; a run is resumed only with the same ones.
        """
        return {}

    def prepare(self, table: TrainingDataset, folder: Path, *, batch_size: int) -> None:
        """Do once, before the first step, what the untrained model is needed for.

        Args:
            table: The rows.
            folder: Of the run; what is written there is found again when the run goes on.
            batch_size: Rows at a time.
        """

    def lengths(self, row: TrainingExample) -> dict[str, tuple[int, int]]:
        """Return, for each kind of text in a row, its tokens and how many of them are read."""
        found = {"query": self.base.length(row.query, Role.QUERY)}
        if row.positive is not None:
            found["positive"] = self.base.length(row.positive, Role.PASSAGE)
        if row.negatives:
            found["negative"] = self.base.length(row.negatives[0], Role.PASSAGE)
        return found

    def eval_encoder(self) -> AbstractContextManager[TorchEncoder]:
        """Give an encoder of the model as it is now; training goes on after it."""
        return self.base.eval_encoder()

    def write(self, folder: Path) -> None:
        """Write the trained model into an empty folder that every command of decant can open."""
        self.base.write(folder)
