"""One sparse vector, for storing and for searching.

Invariant: a :class:`SparseVector` that exists can be stored. Engines do not check that: Edge
accepts NaN and repeated indices silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from decant.embedders import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INDICES = 2**32  # Qdrant stores them as unsigned 32-bit integers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseVector:
    """The entries of one vector that are not zero, at least one.

    Args:
        indices: int64, shape ``(K,)``, from 0 to 2**32 - 1, in any order without repetition.
        values: float32, shape ``(K,)``, finite.

    Raises:
        StoreError: An array has another shape, an index is out of range or repeated, a value is not
            finite, or there is no entry: a text without any weight has no sparse vector.
    """

    indices: NDArray[np.int64]
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        if fault := _fault(self.indices, self.values):
            raise StoreError(f"a sparse vector cannot be stored or searched with: {fault}")


def _fault(indices: NDArray[np.int64], values: NDArray[np.float32]) -> str | None:
    if indices.ndim != 1 or indices.shape != values.shape:
        return f"indices have shape {indices.shape}, values {values.shape}; both must be (K,)"
    if not len(indices):
        return "it has no entries; leave it out"
    finite = np.isfinite(values)
    if not finite.all():
        place = int(np.argmin(finite))
        return f"the value at index {indices[place]} is {values[place]}; check the encoder"
    if indices.min() < 0 or indices.max() >= _INDICES:
        return f"indices go from {indices.min()} to {indices.max()}, which is not within 32 bits"
    found, counts = np.unique(indices, return_counts=True)
    if len(found) < len(indices):
        return f"index {found[int(np.argmax(counts))]} comes {counts.max()} times; add its values"
    return None
