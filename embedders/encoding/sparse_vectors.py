"""Sparse vectors, in compressed rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseVectors:
    """N sparse vectors in compressed rows, as ``scipy.sparse.csr_array`` takes them.

    Row i holds ``values[starts[i]:starts[i + 1]]`` at ``indices[starts[i]:starts[i + 1]]``; values
    are positive, indices ascend without repetition.

    Args:
        starts: int64, shape (N + 1,).
        indices: int64, shape (M,): token ids, or clusters.
        values: float32, shape (M,).
    """

    starts: NDArray[np.int64]
    indices: NDArray[np.int64]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return indices and values of one vector."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"there are {len(self)} vectors, asked for number {row}")
        part = slice(self.starts[row % len(self)], self.starts[row % len(self) + 1])
        return self.indices[part], self.values[part]

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        return (self[row] for row in range(len(self)))

    def taken(self, order: NDArray[np.intp]) -> SparseVectors:
        """Return the rows with these numbers, in this order."""
        rows = [self[row] for row in order.tolist()]
        starts = np.zeros(len(rows) + 1, np.int64)
        starts[1:] = np.cumsum([len(indices) for indices, _ in rows])
        return SparseVectors(
            starts=starts,
            indices=np.concatenate([np.zeros(0, np.int64), *(indices for indices, _ in rows)]),
            values=np.concatenate([np.zeros(0, np.float32), *(values for _, values in rows)]),
        )

    @classmethod
    def from_top(cls, indices: NDArray[np.int64], values: NDArray[np.float32]) -> SparseVectors:
        """Drop entries that weigh nothing, and sort; NaN stays, so that nobody takes it for zero.

        Args:
            indices: int64, shape (N, K), without repetition in a row where values are positive.
            values: float32, shape (N, K).
        """
        order = np.argsort(indices, axis=1)
        indices = np.take_along_axis(indices, order, 1)
        values = np.take_along_axis(values, order, 1)
        kept = ~(values <= 0)
        starts = np.concatenate([[0], kept.sum(axis=1).cumsum()]).astype(np.int64)
        return cls(starts=starts, indices=indices[kept], values=values[kept])

    @classmethod
    def stacked(cls, parts: list[SparseVectors]) -> SparseVectors:
        """Return the rows of all parts, in order."""
        starts = np.zeros(sum(map(len, parts)) + 1, np.int64)
        if parts:
            starts[1:] = np.concatenate([np.diff(part.starts) for part in parts]).cumsum()
        return cls(
            starts=starts,
            indices=np.concatenate([np.zeros(0, np.int64), *(part.indices for part in parts)]),
            values=np.concatenate([np.zeros(0, np.float32), *(part.values for part in parts)]),
        )
