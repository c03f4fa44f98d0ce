"""Round a matrix to few bits so that what it gives for typical inputs changes little.

GPTQ (Frantar et al. 2023, arXiv 2210.17323, algorithm 1): inputs are rounded one after the other,
and the error that each makes is taken back by those that are not rounded yet, as far as they go
together with it in the inputs seen. The order is that of falling mean squares ("act-order" in the
authors' code), the scales of blocks are set before ("static groups"). float64 inside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

# Measured (experiments/log/2026-11-28-w4-gptq-and-fused-biases.md): ten times the paper's, for our
# texts have few tokens; 0.03 to 0.2 are much the same.
_DAMPING = 0.1
_SHRINKING = np.linspace(1.0, 0.6, 9)  # of a block's step, of which the best is taken
_TOGETHER = 64  # inputs whose errors reach the later ones in one product
_TINY = 1e-30


class Rounding:
    """How errors spread over the inputs of layers that read the same states.

    Args:
        moments: Sum or mean of ``x xT`` over tokens' states x, shape (K, K); not changed.
    """

    def __init__(self, moments: NDArray[np.floating]) -> None:
        damped = np.array(moments, np.float64)
        diagonal = damped.diagonal().copy()
        unseen = diagonal <= 0
        diagonal[unseen] = 1  # never anything but zero: they correct nothing, and are rounded
        damped[unseen], damped[:, unseen] = 0, 0
        np.fill_diagonal(damped, diagonal + _DAMPING * diagonal.mean())
        self._order = np.argsort(-diagonal, kind="stable")
        self._spread = _spread(damped[np.ix_(self._order, self._order)])

    def rounded(
        self, matrix: NDArray[np.float32], *, bits: int, block: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return the integers and scales of a matrix.

        Args:
            matrix: float32, shape (K, N).
            bits: At most 8.
            block: Inputs that share a scale; the last block is filled with zeros.

        Returns:
            uint8 of shape (N, blocks, block), and float32 of shape (N, blocks), with
            ``matrix ~ (integers - 2^(bits-1)) * scales``.
        """
        inputs, outputs = matrix.shape
        zero = 2 ** (bits - 1)
        blocks = -(-inputs // block)
        padded = np.zeros((blocks * block, outputs))
        padded[:inputs] = matrix
        steps = _steps(padded.reshape(blocks, block, outputs), zero)  # (blocks, N)
        left = padded[self._order]
        rounded = np.zeros((blocks * block, outputs), np.int64)
        for start in range(0, inputs, _TOGETHER):
            stop = min(start + _TOGETHER, inputs)
            errors = np.empty((stop - start, outputs))
            for place in range(start, stop):
                at = self._order[place]
                step = steps[at // block]
                rounded[at] = np.clip(np.rint(left[place] / step), -zero, zero - 1)
                error = (left[place] - rounded[at] * step) / self._spread[place, place]
                later = self._spread[place, place + 1 : stop]
                left[place + 1 : stop] -= np.outer(later, error)
                errors[place - start] = error
            left[stop:] -= self._spread[start:stop, stop:].T @ errors
        integers = (rounded + zero).astype(np.uint8).T.reshape(outputs, blocks, block)
        return np.ascontiguousarray(integers), np.ascontiguousarray(steps.T, np.float32)


def _spread(moments: Float) -> Float:
    """Return the upper triangular U with ``UT U`` the inverse of a positive definite matrix.

    Turned by half, the matrix is ``L LT``; so it is itself ``R RT`` with R upper, and U inverts R.
    """
    turned: Float = np.linalg.cholesky(moments[::-1, ::-1])[::-1, ::-1].astype(np.float64)
    return _inverse_of_upper(turned)


def _inverse_of_upper(matrix: Float) -> Float:
    """Invert an upper triangular matrix by its blocks; NumPy would take it for any other."""
    half = len(matrix) // 2
    if half < _TOGETHER:
        return np.triu(np.linalg.inv(matrix)).astype(np.float64)
    inverse = np.zeros_like(matrix)
    first = inverse[:half, :half] = _inverse_of_upper(matrix[:half, :half])
    last = inverse[half:, half:] = _inverse_of_upper(matrix[half:, half:])
    inverse[:half, half:] = -(first @ matrix[:half, half:] @ last)
    return inverse


def _steps(split: Float, zero: int) -> Float:
    """Return the step of each block, (blocks, N), of the least squared error among a few.

    The whole one lets a block's largest magnitude take the lowest integer, which has no
    counterpart; smaller ones clip it.

    Args:
        split: Weights, shape (blocks, block, N).
        zero: How many integers are below zero.
    """
    peak_at = np.abs(split).argmax(axis=1, keepdims=True)
    whole = np.take_along_axis(split, peak_at, axis=1)[:, 0] / -zero
    whole = np.where(np.abs(whole) < _TINY, 1, whole)
    best, least = whole, np.full(whole.shape, np.inf)
    for share in _SHRINKING:
        # What float32 holds, for that is what is multiplied with.
        step = (whole * share).astype(np.float32).astype(np.float64)
        found = np.clip(np.rint(split / step[:, None]), -zero, zero - 1) * step[:, None]
        error = np.square(found - split).sum(axis=1)
        better = error < least
        best, least = np.where(better, step, best), np.where(better, error, least)
    return best
