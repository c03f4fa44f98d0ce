"""Weights that have four bits already, as those of a model that was read from a GGUF file.

Such a matrix has few values in each block of 32 inputs: ``w = q scale + offset`` with q of 0 to 15.
GGUF's types Q4_0, Q4_1 and Q4_K are of this form (specification: ggml's ``block_q4_0``,
``block_q4_1``, and ``block_q4_K``, whose scales and minima are those of 32 weights). Found again,
they are stored as they were, and nothing more is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
_TOP = 15
_MIDDLE = 8
_FIRST = 64  # outputs that are looked at before all are
# Of a step. Files round scales to 16 bits before they multiply, so float32 is all that differs.
_OFF = 1e-3
_ALIKE = 1e-5  # of a step, by which two offsets of one block may differ


@dataclass(frozen=True, slots=True)
class Grid:
    """A matrix in four bits: ``matrix[k, n] = integers scales + offsets``, blocks along k.

    Args:
        integers: uint8 of 0 to 15, shape (N, blocks, 32).
        scales: float32, shape (N, blocks).
        offsets: float32, shape (N, blocks); None: -8 scales everywhere, as MatMulNBits has it.
    """

    integers: NDArray[np.uint8]
    scales: NDArray[np.float32]
    offsets: NDArray[np.float32] | None


def grid_of(matrix: NDArray[np.float32]) -> Grid | None:
    """Return a matrix in four bits, or None where that would change its weights.

    Args:
        matrix: float32, shape (K, N).
    """
    inputs, outputs = matrix.shape
    if inputs % BLOCK or not np.isfinite(matrix).all():
        return None
    blocks = np.ascontiguousarray(matrix.T).reshape(outputs, -1, BLOCK)
    if _steps(blocks[:_FIRST]) is None:
        return None
    scales = _steps(blocks)
    if scales is None:
        return None
    symmetric = _around_zero(blocks, scales)
    if symmetric is not None:
        return symmetric
    least = blocks.min(axis=2)
    integers = np.rint((blocks - least[..., None]) / scales[..., None])
    return Grid(integers.astype(np.uint8), scales, least)


def _steps(blocks: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return the step of each block, shape (N, blocks), or None where one has no such step.

    The range of a block is 1 to 15 steps. The largest step that fits is as good as any: the same
    weights follow from it.
    """
    least = blocks.min(axis=2, keepdims=True)
    above = blocks - least
    reach = above.max(axis=2, keepdims=True)
    found = np.zeros_like(reach)
    for count in range(1, _TOP + 1):
        step = (reach / count).astype(np.float32)
        with np.errstate(invalid="ignore"):
            places = above / step
        fits = (np.abs(places - np.rint(places)) <= _OFF).all(axis=2, keepdims=True)
        found = np.where((found == 0) & fits, step, found)
    # A block of one value is one step from zero, so that it is on the grid around zero as well.
    found = np.where(reach == 0, np.where(least == 0, 1, np.abs(least)), found)
    return None if (found == 0).any() else found[:, :, 0]


def _around_zero(blocks: NDArray[np.float32], scales: NDArray[np.float32]) -> Grid | None:
    """Return the grid without offsets, or None where a block has no zero in the right place.

    The middle of 0 to 15 is 8, so a block that reaches +8 steps is counted in steps below zero.
    """
    steps = blocks / scales[..., None]
    whole = np.rint(steps)
    reach = np.where(whole.max(axis=2) >= _MIDDLE, -1, 1).astype(np.float32)
    integers = whole * reach[..., None] + _MIDDLE
    if np.abs(steps - whole).max() > _ALIKE or integers.min() < 0 or integers.max() > _TOP:
        return None
    return Grid(integers.astype(np.uint8), scales * reach, None)
