"""The vectors of texts on their way to a store: checked, and each dense one beside its sparse one.

Invariant: in a collection with sparse vectors, a text that the encoder embedded has one unless it
weighs nothing; a text whose vectors a caller gave has one if the caller gave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from decant.embedders import SparseVectors, StoreError, Vectors

from .points import checked_vectors
from .sparse import SparseVector
from .target import Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """The vectors of one text.

    Args:
        dense: float32, shape ``(D,)``.
        sparse: None where the text weighs nothing, or the collection has no sparse vectors.
    """

    dense: NDArray[np.float32]
    sparse: SparseVector | None = None


def made_rows(target: Target, vectors: Vectors, owners: Sequence[str]) -> list[Row]:
    """Return what the collection's encoder gave for N texts, row by row.

    Args:
        target: The collection; the encoder was asked for ``target.outputs``.
        vectors: Of N texts.
        owners: N names for messages.

    Raises:
        StoreError: A vector cannot be stored, or the sparse ones are missing.
    """
    if target.sparse and vectors.sparse is None:
        raise StoreError(
            f"the encoder of {target.encoder.recipe.base} gave no sparse vectors although it was "
            "asked for them and its recipe has a lexicon; its encode() must obey `outputs`"
        )
    return _rows(target, vectors, owners)


def given_rows(
    target: Target, vectors: Vectors | NDArray[np.float32], owners: Sequence[str]
) -> list[Row]:
    """Return what a caller gave for N texts, row by row; sparse vectors may be missing.

    Raises:
        StoreError: A vector cannot be stored, or sparse ones come to a collection without.
    """
    if not isinstance(vectors, Vectors):
        vectors = Vectors(dense=vectors)
    if vectors.sparse is not None and not target.sparse:
        raise StoreError(
            f"sparse vectors were given, and the collection {target.name!r} holds dense ones "
            "alone; give vectors.dense, or make a collection with an encoder whose recipe has a "
            "lexicon"
        )
    return _rows(target, vectors, owners)


def _rows(target: Target, vectors: Vectors, owners: Sequence[str]) -> list[Row]:
    dense = checked_vectors(vectors.dense, target.encoder.dim, owners)
    sparse: list[SparseVector | None] = [None] * len(owners)
    if vectors.sparse is not None and target.sparse:
        sparse = _sparse_rows(vectors.sparse, owners)
    return [Row(dense=one, sparse=other) for one, other in zip(dense, sparse, strict=True)]


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
