"""The vectors of texts before they are stored: checked, and collected for each text.

Invariant: in a collection with sparse vectors, a text that the encoder embedded has one unless it
weighs nothing; a text whose vectors a caller gave has one if the caller gave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from decant.embedders import SparseVectors, StoreError, Vectors

from ..stores.protocol import Point
from ..stores.sparse_vector import SparseVector
from ..stores.text_to_embed import Embedding, SparseEmbedding, TextToEmbed
from .handle import Target
from .payloads import checked_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """The vectors of one text.

    Args:
        dense: float32, shape ``(D,)``, or the text of which the server makes the vector.
        sparse: The vector, or such a text; None if the text weighs nothing, or the collection has
            no sparse vectors.
        soft_tokens: float32, shape ``(n, d')``; None if none are stored, or none were given.
        token_vectors: float32, shape ``(P, d)``; likewise.
    """

    dense: Embedding
    sparse: SparseEmbedding | None = None
    soft_tokens: NDArray[np.float32] | None = None
    token_vectors: NDArray[np.float32] | None = None

    @classmethod
    def of_point(cls, point: Point) -> Self | None:
        """Return the vectors of a stored point; None if it has no dense one."""
        if point.dense is None:
            return None
        return cls(
            dense=point.dense,
            sparse=point.sparse,
            soft_tokens=point.soft_tokens,
            token_vectors=point.token_vectors,
        )

    def on(self, point: Point) -> Point:
        """Return a point with these vectors."""
        dense, sparse = self.dense, self.sparse
        return Point(
            id=point.id,
            payload=point.payload,
            dense=None if isinstance(dense, TextToEmbed) else dense,
            sparse=None if isinstance(sparse, TextToEmbed) else sparse,
            words=point.words,
            soft_tokens=self.soft_tokens,
            token_vectors=self.token_vectors,
            to_embed=tuple(one for one in (dense, sparse) if isinstance(one, TextToEmbed)),
        )


def made_rows(target: Target, vectors: Vectors, owners: Sequence[str]) -> list[Row]:
    """Return the rows of N texts from the vectors of the collection's encoder.

    Args:
        target: The collection; the encoder was called with ``target.outputs``.
        vectors: The vectors of N texts.
        owners: N names for messages.

    Raises:
        StoreError: A vector cannot be stored, or the sparse ones are missing.
    """
    if target.sparse and vectors.sparse is None:
        raise StoreError(
            f"the encoder of {target.encoder.recipe.base} gave no sparse vectors although it was "
            "asked for them and its recipe has a sparse head; its encode() must obey `outputs`"
        )
    if target.soft_tokens is not None and vectors.soft_tokens is None:
        raise StoreError(
            f"the encoder of {target.encoder.recipe.base} gave no soft tokens although it was "
            "asked for them; its encode() must obey `outputs`"
        )
    if target.token_vectors is not None and vectors.token_embeddings is None:
        raise StoreError(
            f"the encoder of {target.encoder.recipe.base} gave no token embeddings although it was "
            "asked for them; its encode() must obey `outputs`"
        )
    return _rows(target, vectors, owners)


def given_rows(
    target: Target, vectors: Vectors | NDArray[np.float32], owners: Sequence[str]
) -> list[Row]:
    """Return the rows of N texts from a caller's vectors; all but dense ones may be missing.

    Raises:
        StoreError: A vector cannot be stored, or the collection has no sparse vectors or soft
            tokens and the caller gave some.
    """
    if not isinstance(vectors, Vectors):
        vectors = Vectors(dense=vectors)
    if vectors.sparse is not None and not target.sparse:
        raise StoreError(
            f"sparse vectors were given, and the collection {target.name!r} holds dense ones "
            "alone; give vectors.dense, or make a collection with an encoder whose recipe has a "
            "sparse head"
        )
    if vectors.soft_tokens is not None and target.soft_tokens is None:
        raise StoreError(
            f"soft tokens were given, but the collection {target.name!r} has none; omit them, or "
            "make a collection with CollectionSettings(soft_tokens=True)"
        )
    if vectors.token_embeddings is not None and target.token_vectors is None:
        raise StoreError(
            f"token embeddings were given, but the collection {target.name!r} keeps none; omit "
            "them, or make a collection with CollectionSettings(token_vectors=TokenVectors())"
        )
    return _rows(target, vectors, owners)


def _rows(target: Target, vectors: Vectors, owners: Sequence[str]) -> list[Row]:
    dense = checked_vectors(vectors.dense, target.encoder.dim, owners)
    sparse: list[SparseVector | None] = [None] * len(owners)
    if vectors.sparse is not None and target.sparse:
        sparse = _sparse_rows(vectors.sparse, owners)
    states: Sequence[NDArray[np.float32] | None] = [None] * len(owners)
    if vectors.soft_tokens is not None and target.soft_tokens is not None:
        states = list(_checked_states(target, vectors.soft_tokens, owners))
    tokens: Sequence[NDArray[np.float32] | None] = [None] * len(owners)
    if vectors.token_embeddings is not None and target.token_vectors is not None:
        tokens = target.token_vectors.rows(vectors.token_embeddings, owners)
    return [
        Row(dense=one, sparse=other, soft_tokens=more, token_vectors=rows)
        for one, other, more, rows in zip(dense, sparse, states, tokens, strict=True)
    ]


def _checked_states(
    target: Target, states: NDArray[np.float32], owners: Sequence[str]
) -> NDArray[np.float32]:
    appended = target.encoder.recipe.appended
    assert appended is not None
    expected = (len(owners), appended.read, target.soft_tokens)
    if states.shape != expected:
        raise StoreError(f"expected soft tokens of shape {expected}, got {states.shape}")
    finite = np.isfinite(states).all(axis=(1, 2))
    if not finite.all():
        raise StoreError(
            f"the soft tokens of {owners[int(finite.argmin())]} are not finite; check the encoder"
        )
    return np.asarray(states, np.float32)


def _sparse_rows(vectors: SparseVectors, owners: Sequence[str]) -> list[SparseVector | None]:
    if len(vectors) != len(owners):
        raise StoreError(f"expected {len(owners)} sparse vectors, got {len(vectors)}")
    return [sparse_row(vectors, row, owner) for row, owner in enumerate(owners)]


def sparse_row(vectors: SparseVectors, row: int, owner: str) -> SparseVector | None:
    """Return one sparse vector; None if it has no entries.

    Raises:
        StoreError: It cannot be stored or searched with; the message names the owner.
    """
    indices, values = vectors[row]
    if not len(indices):
        return None
    try:
        return SparseVector(indices=indices, values=values)
    except StoreError as error:
        raise StoreError(f"{owner}: {error}") from error
