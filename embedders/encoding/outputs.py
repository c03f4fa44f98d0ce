"""Put the outputs of batches back into the order of their texts.

Invariant: the result does not depend on how texts were batched.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from ..tokens.rows import TokenBatch
from .protocol import Output, Vectors
from .sparse_vectors import SparseVectors

DENSE = "sentence_embedding"
SPARSE = ("sparse_indices", "sparse_values")
STATES = "compress_states"
TOKENS = "token_embeddings"
PRESENT = "present_states"
PROMPT = "prompt_states"
PROMPT_ROWS = "prompt_rows"


def output_names(outputs: Collection[Output]) -> list[str]:
    """Return the graph's names of the dense vector and of ``outputs``."""
    names = [DENSE]
    if Output.SPARSE in outputs:
        names += SPARSE
    if Output.SOFT_TOKENS in outputs:
        names.append(STATES)
    if Output.TOKEN_EMBEDDINGS in outputs:
        names.append(TOKENS)
    return names


def batch_vectors(
    batch: TokenBatch, given: Sequence[NDArray[np.generic]], outputs: Collection[Output]
) -> Vectors:
    """Return one batch's vectors.

    Args:
        batch: The batch that was run.
        given: Its outputs in the order of :func:`output_names`: float32 (B, D); int64 (B, K) and
            float32 (B, K); float32 (B, n, d'); float32 (B, T, d).
        outputs: The outputs that the caller requested.
    """
    found = dict(zip(output_names(outputs), given, strict=True))
    sparse, states, tokens = None, None, None
    if Output.SPARSE in outputs:
        indices, values = (found[name] for name in SPARSE)
        sparse = SparseVectors.from_top(
            np.asarray(indices, np.int64), np.asarray(values, np.float32)
        )
    if Output.SOFT_TOKENS in outputs:
        states = np.asarray(found[STATES], np.float32)
    if Output.TOKEN_EMBEDDINGS in outputs:
        tokens = tuple(
            np.asarray(row[mask], np.float32)
            for row, mask in zip(found[TOKENS], batch.scored, strict=True)
        )
    dense = np.asarray(found[DENSE], np.float32)
    return Vectors(dense=dense, sparse=sparse, soft_tokens=states, token_embeddings=tokens)


def restored(batches: list[Vectors], groups: list[list[int]]) -> Vectors:
    """Put the rows of all batches back in the order of their texts."""
    places = [index for group in groups for index in group]
    stacked = np.concatenate([batch.dense for batch in batches])
    dense = np.empty_like(stacked)
    dense[places] = stacked
    order = np.argsort(places)
    sparse = joined_sparse(batches)
    states = joined_states(batches)
    tokens = joined_tokens(batches)
    return Vectors(
        dense=dense,
        sparse=None if sparse is None else sparse.taken(order),
        soft_tokens=None if states is None else states[order],
        token_embeddings=None if tokens is None else tuple(tokens[index] for index in order),
    )


def joined(
    parts: list[Vectors],
    *,
    dim: int,
    outputs: Collection[Output],
    read_shape: tuple[int, int] | None = None,
) -> Vectors:
    """Join all parts; without parts, return zero rows of width ``dim`` and ``read_shape``."""
    if len(parts) == 1:
        return parts[0]
    states = None
    if Output.SOFT_TOKENS in outputs:
        states = joined_states(parts)
        if states is None:
            assert read_shape is not None
            states = np.zeros((0, *read_shape), np.float32)
    return Vectors(
        dense=np.concatenate([np.zeros((0, dim), np.float32), *(part.dense for part in parts)]),
        sparse=joined_sparse(parts) if Output.SPARSE in outputs else None,
        soft_tokens=states,
        token_embeddings=joined_tokens(parts) if Output.TOKEN_EMBEDDINGS in outputs else None,
    )


def joined_sparse(parts: list[Vectors]) -> SparseVectors | None:
    """Return the sparse vectors of all parts; None if a part has none."""
    found = [part.sparse for part in parts if part.sparse is not None]
    return SparseVectors.stacked(found) if len(found) == len(parts) else None


def joined_states(parts: list[Vectors]) -> NDArray[np.float32] | None:
    """Return the soft tokens of all parts; None if a part has none, or there is no part."""
    found = [part.soft_tokens for part in parts if part.soft_tokens is not None]
    return np.concatenate(found) if found and len(found) == len(parts) else None


def joined_tokens(parts: list[Vectors]) -> tuple[NDArray[np.float32], ...] | None:
    """Return the token embeddings of all parts; None if a part has none."""
    found = [part.token_embeddings for part in parts if part.token_embeddings is not None]
    return tuple(states for part in found for states in part) if len(found) == len(parts) else None
