"""Compare a graph's further outputs with PyTorch: sparse vectors, soft tokens, token embeddings.

Each is one check of a certificate, with the gates of its precision: every text alone, and in
batches padded on either side, against PyTorch run alone and unpadded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decant.embedders import CertificateCheck, Precision, Recipe, SparseVectors
from decant.embedders.encoding import SPARSE, STATES, TOKENS
from decant.embedders.tokens import TokenBatch, Tokens, pad

RunOutputs = Callable[[TokenBatch, Sequence[str]], Sequence[NDArray[np.generic]]]

_GROUP = 8
_FIRST = 16  # texts whose token embeddings are stored; they are large


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Extras:
    """PyTorch's outputs in addition to dense vectors.

    Args:
        sparse: A sparse vector for each of M rows; None if the recipe has no sparse head.
        read: The soft tokens, float32, shape (M, n, d'); None if the recipe appends no tokens.
        states: The token embeddings of the first rows one after the other, float32, shape (S, d);
            None if the recipe gives none.
        lengths: int64: how many of these belong to each of the first rows.
        top: The most entries of a sparse vector.
    """

    sparse: SparseVectors | None = None
    read: NDArray[np.float32] | None = None
    states: NDArray[np.float32] | None = None
    lengths: NDArray[np.int64] | None = None
    top: int = 0

    @classmethod
    def of(cls, run: RunOutputs, rows: Sequence[Tokens], recipe: Recipe) -> Extras:
        """Run every row alone and unpadded."""
        sparse = read = states = lengths = None
        if recipe.sparse_head is not None:
            sparse = SparseVectors.stacked([_sparse(run, pad([row], pad_id=0)) for row in rows])
        if recipe.appended is not None:
            read = np.concatenate([_read(run, pad([row], pad_id=0)) for row in rows])
        if recipe.token_embeddings:
            found = [_states(run, pad([row], pad_id=0))[0] for row in rows[:_FIRST]]
            states = np.concatenate(found)
            lengths = np.array([len(part) for part in found], np.int64)
        top = 0 if recipe.sparse_head is None else recipe.sparse_head.top
        return cls(sparse=sparse, read=read, states=states, lengths=lengths, top=top)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays that are not None, by name, for a file."""
        found: dict[str, NDArray[np.generic]] = {}
        if self.sparse is not None:
            found["sparse_starts"] = self.sparse.starts
            found["sparse_indices"] = self.sparse.indices
            found["sparse_values"] = self.sparse.values
            found["sparse_top"] = np.array(self.top)
        if self.read is not None:
            found["read"] = self.read
        if self.states is not None and self.lengths is not None:
            found["states"], found["lengths"] = self.states, self.lengths
        return found

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Extras:
        """Undo :meth:`arrays`.

        Raises:
            KeyError: A part is missing.
        """
        sparse = read = states = lengths = None
        top = int(arrays.get("sparse_top", np.array(0)).item())
        if "sparse_starts" in arrays:
            sparse = SparseVectors(
                starts=np.asarray(arrays["sparse_starts"], np.int64),
                indices=np.asarray(arrays["sparse_indices"], np.int64),
                values=np.asarray(arrays["sparse_values"], np.float32),
            )
        if "read" in arrays:
            read = np.asarray(arrays["read"], np.float32)
        if "states" in arrays:
            states = np.asarray(arrays["states"], np.float32)
            lengths = np.asarray(arrays["lengths"], np.int64)
        return cls(sparse=sparse, read=read, states=states, lengths=lengths, top=top)


def extra_checks(
    run: RunOutputs, rows: Sequence[Tokens], extras: Extras, *, precision: Precision, pad_id: int
) -> list[CertificateCheck]:
    """Compare a graph's sparse vectors, soft tokens and token embeddings with PyTorch's.

    Args:
        run: Runs a batch and returns the named outputs.
        rows: The probe texts as tokens, M rows.
        extras: PyTorch's outputs for them.
        precision: The precision, which decides the gates.
        pad_id: The token id of padded positions.
    """
    checks: list[CertificateCheck] = []
    if extras.sparse is not None:
        cosines = [
            _sparse_cosine(one, extras.sparse[number], top=extras.top)
            for batch, numbers in _batches(rows, pad_id)
            for one, number in zip(_sparse(run, batch), numbers, strict=True)
        ]
        checks.append(_check("sparse vectors", cosines, precision))
    if extras.read is not None:
        cosines = [
            float(cosine)
            for batch, numbers in _batches(rows, pad_id)
            for one, number in zip(_read(run, batch), numbers, strict=True)
            for cosine in _cosines(one, extras.read[number])
        ]
        checks.append(_check("compress states", cosines, precision))
    if extras.states is not None and extras.lengths is not None:
        ends = np.cumsum(extras.lengths)[:-1]
        expected = np.split(extras.states, ends)
        cosines = [
            float(cosine)
            for batch, numbers in _batches(rows[: len(expected)], pad_id)
            for one, number in zip(_states(run, batch), numbers, strict=True)
            for cosine in _cosines(one, expected[number])
        ]
        checks.append(_check("token states", cosines, precision))
    return checks


def _batches(rows: Sequence[Tokens], pad_id: int) -> Iterator[tuple[TokenBatch, list[int]]]:
    """Yield each row alone, then groups of similar length, padded on either side."""
    for number, row in enumerate(rows):
        yield pad([row], pad_id=pad_id), [number]
    order = sorted(range(len(rows)), key=lambda number: rows[number].width)
    for start in range(0, len(rows), _GROUP):
        numbers = order[start : start + _GROUP]
        for left in (False, True):
            yield pad([rows[number] for number in numbers], pad_id=pad_id, left=left), numbers


def _sparse(run: RunOutputs, batch: TokenBatch) -> SparseVectors:
    indices, values = run(batch, SPARSE)
    return SparseVectors.from_top(np.asarray(indices, np.int64), np.asarray(values, np.float32))


def _read(run: RunOutputs, batch: TokenBatch) -> NDArray[np.float32]:
    (values,) = run(batch, [STATES])
    return np.asarray(values, np.float32)


def _states(run: RunOutputs, batch: TokenBatch) -> list[NDArray[np.float32]]:
    (values,) = run(batch, [TOKENS])
    whole = np.asarray(values, np.float32)
    return [states[mask] for states, mask in zip(whole, batch.scored, strict=True)]


_Row = tuple[NDArray[np.int64], NDArray[np.float32]]


def _sparse_cosine(one: _Row, other: _Row, *, top: int) -> float:
    """Return the cosine of two sparse vectors; two empty ones agree, and NaN agrees with nothing.

    Of two entries of nearly equal weight, one vector may drop the first at its ``top`` limit and
    the other vector the second. So an entry that a full vector lacks counts with the weight of its
    lightest entry.
    """
    together = np.union1d(one[0], other[0])
    if not len(together):
        return 1.0
    first, second = (_filled(row, together, top=top) for row in (one, other))
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    usable = norms > 0 and np.isfinite(norms)
    return min(1.0, float(first @ second) / norms) if usable else -1.0


def _filled(row: _Row, together: NDArray[np.int64], *, top: int) -> NDArray[np.float64]:
    """Return the weights of all indices that one of the vectors has."""
    indices, values = row
    lacking = float(values.min()) if len(indices) >= top else 0.0
    found = np.full(len(together), lacking)
    found[np.searchsorted(together, indices)] = values
    return found


def _cosines(states: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = states.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (a * b).sum(axis=1) / norms
    return np.asarray(np.clip(np.nan_to_num(found, nan=-1.0), -1.0, 1.0), np.float64)


def _check(name: str, cosines: list[float], precision: Precision) -> CertificateCheck:
    worst, mean = min(cosines), float(np.mean(cosines))
    least_worst, least_mean = precision.gates
    passed = worst >= least_worst and mean >= least_mean
    return CertificateCheck(
        name=name,
        cases=len(cosines),
        worst_cosine=worst,
        passed=passed,
        finding="" if passed else f"worst cosine {worst:.6f}: {name} are not PyTorch's",
    )
