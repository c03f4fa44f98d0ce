"""The order of rows in training: shuffled, with all rows of a batch from one task."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from ..data.table import TrainingDataset


class TaskOrder(Sampler[int]):
    """A sampler of full batches of one task each, in a new order for every epoch.

    Batches of all tasks are shuffled together, so that each task is drawn in proportion to its
    rows. The rows of a task that do not fill a batch are left out of that epoch.

    Args:
        table: The rows.
        batch_size: Rows of one batch.
        seed: The seed and the number of the epoch determine the order.
    """

    def __init__(self, table: TrainingDataset, *, batch_size: int, seed: int) -> None:
        self._tasks = table.tasks
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which changes the order; the data loader calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        sizes = np.unique(self._tasks, return_counts=True)[1]
        return int((sizes // self._batch_size).sum()) * self._batch_size

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng([self._seed, self._epoch])
        batches: list[NDArray[np.int64]] = []
        for task in np.unique(self._tasks):
            rows = random.permutation(np.flatnonzero(self._tasks == task))
            full = len(rows) // self._batch_size
            batches += list(rows[: full * self._batch_size].reshape(full, -1))
        for number in random.permutation(len(batches)):
            yield from batches[number].tolist()
