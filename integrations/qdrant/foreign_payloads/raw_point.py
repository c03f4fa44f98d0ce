"""A point to the letter, as another program stored it: its own id, payload, and all its vectors.

The rest of decant sees points of adopted collections as records (``server/point_form.py``); what
copies such a collection must not, because a record has one vector, and a UUID as its id.
Invariant: nothing of a stored point is left out here, and nothing is added.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from decant.embedders.json_records import Json

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNNAMED = ""
"""The name of the vector that has none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawSparseVector:
    """A sparse vector in the order in which it is stored; it may have no entries.

    Args:
        indices: uint32, shape ``(K,)``.
        values: float32, shape ``(K,)``.
    """

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]


RawVector: TypeAlias = Union["NDArray[np.float32]", RawSparseVector]
"""A vector: float32, shape ``(D,)``; several of one point: ``(P, D)``; or a sparse one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawPoint:
    """A stored point.

    Args:
        id: A whole number or a UUID, as it is stored.
        payload: The whole payload.
        vectors: Those that it has, by their names.
    """

    id: int | str
    payload: dict[str, Json]
    vectors: Mapping[str, RawVector]

    def to_bytes(self) -> bytes:
        """Return bytes that differ for points that differ in anything."""
        parts = [json.dumps([self.id, self.payload], sort_keys=True).encode()]
        for name in sorted(self.vectors):
            parts.append(json.dumps(name).encode())
            parts += [f"{one.shape}".encode() + one.tobytes() for one in arrays_of(self, name)]
        return b"\n".join(parts)

    @property
    def numbers(self) -> int:
        """How many numbers its vectors have."""
        return sum(one.size for name in self.vectors for one in arrays_of(self, name))


def arrays_of(point: RawPoint, name: str) -> list[NDArray[np.generic]]:
    """Return the arrays of a vector: one, or the indices and the values of a sparse one."""
    held = point.vectors[name]
    return [held.indices, held.values] if isinstance(held, RawSparseVector) else [held]
