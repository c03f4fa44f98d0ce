"""Bring what batches gave back into the order of their texts.

Invariant: the result does not depend on how texts were batched.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from .encoder import Output, Vectors
from .sparse_vectors import SparseVectors
from .tokens import TokenBatch

DENSE = "sentence_embedding"
SPARSE = ("sparse_indices", "sparse_values")
TOKENS = "token_embeddings"


def output_names(outputs: Collection[Output]) -> list[str]:
    """Return the graph's names of the dense vector and of ``outputs``."""
    names = [DENSE]
    if Output.SPARSE in outputs:
        names += SPARSE
    if Output.TOKENS in outputs:
        names.append(TOKENS)
    return names


def batch_vectors(
    batch: TokenBatch, given: Sequence[NDArray[np.generic]], outputs: Collection[Output]
) -> Vectors:
    """Return one batch's vectors.

    Args:
        batch: What was run.
        given: What it gave, as :func:`output_names` names them: float32 (B, D); int64 (B, K) and
            float32 (B, K); float32 (B, T, d).
        outputs: What was asked for.
    """
    found = dict(zip(output_names(outputs), given, strict=True))
    sparse, tokens = None, None
    if Output.SPARSE in outputs:
        indices, values = (found[name] for name in SPARSE)
        sparse = SparseVectors.from_top(
            np.asarray(indices, np.int64), np.asarray(values, np.float32)
        )
    if Output.TOKENS in outputs:
        real = batch.attention_mask > 0
        tokens = tuple(
            np.asarray(states[mask], np.float32)
            for states, mask in zip(found[TOKENS], real, strict=True)
        )
    return Vectors(dense=np.asarray(found[DENSE], np.float32), sparse=sparse, tokens=tokens)


def restored(batches: list[Vectors], groups: list[list[int]]) -> Vectors:
    """Put the rows of all batches back in the order of their texts."""
    places = [index for group in groups for index in group]
    stacked = np.concatenate([batch.dense for batch in batches])
    dense = np.empty_like(stacked)
    dense[places] = stacked
    order = np.argsort(places)
    sparse = joined_sparse(batches)
    tokens = joined_tokens(batches)
    return Vectors(
        dense=dense,
        sparse=None if sparse is None else sparse.taken(order),
        tokens=None if tokens is None else tuple(tokens[index] for index in order),
    )


def joined(parts: list[Vectors], *, dim: int, outputs: Collection[Output]) -> Vectors:
    """Return all parts in one; none give zero rows of width ``dim``."""
    if len(parts) == 1:
        return parts[0]
    return Vectors(
        dense=np.concatenate([np.zeros((0, dim), np.float32), *(part.dense for part in parts)]),
        sparse=joined_sparse(parts) if Output.SPARSE in outputs else None,
        tokens=joined_tokens(parts) if Output.TOKENS in outputs else None,
    )


def joined_sparse(parts: list[Vectors]) -> SparseVectors | None:
    """Return the sparse vectors of all parts; None where one has none."""
    found = [part.sparse for part in parts if part.sparse is not None]
    return SparseVectors.stacked(found) if len(found) == len(parts) else None


def joined_tokens(parts: list[Vectors]) -> tuple[NDArray[np.float32], ...] | None:
    """Return the token states of all parts; None where one has none."""
    found = [part.tokens for part in parts if part.tokens is not None]
    return tuple(states for part in found for states in part) if len(found) == len(parts) else None
