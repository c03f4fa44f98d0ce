"""The base class of training methods: their modules, their batches and their loss.

An objective knows nothing of loops, devices or checkpoints. It draws random numbers in ``forward``
only, from torch's own generator, which checkpoints restore. ``collate`` draws nothing, so that a
resumed run makes the same batches.
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
"""A batch: tensors by name, which may be nested."""


class Objective(nn.Module, ABC):
    """One training method with its modules and settings.

    Args:
        base: The embedder that is trained.
        settings: A dataclass; a run is resumed only with equal settings.

    Attributes:
        needs: Columns that every row must have.
        settings: The settings that the objective was made with.
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
        """Return whether rows may have an instruction; if not, such data are refused."""
        return False

    def takes_negative_answers(self) -> bool:
        """Return whether negatives may have answers; if not, data with such answers are refused."""
        return False

    def check(self, table: TrainingDataset) -> None:
        """Refuse data from which nothing can be learnt, before the first step.

        Raises:
            DataError: The data do not suit the method; the message says why and what to do.
        """

    def run_identity(self) -> dict[str, str]:
        """Return the revision or digest of each other model in the run, such as a teacher.

        The keys are their parts in the run. A run is resumed only with the same models.
        """
        return {}

    def prepare(self, table: TrainingDataset, folder: Path, *, batch_size: int) -> None:
        """Do once, before the first step, all work that needs the untrained model.

        Args:
            table: The rows.
            folder: The folder of the run; files written here are there when the run is resumed.
            batch_size: Rows per batch.
        """

    def lengths(self, row: TrainingExample) -> dict[str, tuple[int, int]]:
        """Return how many tokens each kind of text in a row has, and how many of them are read."""
        found = {"query": self.base.length(row.query, Role.QUERY)}
        if row.positive is not None:
            found["positive"] = self.base.length(row.positive, Role.PASSAGE)
        if row.negatives:
            found["negative"] = self.base.length(row.negatives[0], Role.PASSAGE)
        return found

    def eval_encoder(self) -> AbstractContextManager[TorchEncoder]:
        """Return a context manager; see :meth:`Base.eval_encoder`."""
        return self.base.eval_encoder()

    def write(self, folder: Path) -> None:
        """Write the trained model into an empty folder that every command of decant can open."""
        self.base.write(folder)
