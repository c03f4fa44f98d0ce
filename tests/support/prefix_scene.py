"""Collections with prefixes: their settings, vectors to fill them, and what two loops find."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from decant.integrations.qdrant import Collection, CollectionSettings, Record

Floats = NDArray[np.float32]

DIM, WIDTH = 32, 8
SETTINGS = CollectionSettings(prefix=WIDTH, allow_any_dim=True)


def unit(rows: NDArray[Any]) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


def fill(collection: Collection, count: int, seed: int = 0) -> Floats:
    """Store random vectors, and return them in the order of their ids, which are their numbers."""
    vectors = unit(np.random.default_rng(seed).standard_normal((count, DIM)))
    collection.add(
        [Record(id=str(n), text=f"t {n}", metadata={"even": n % 2 == 0}) for n in range(count)],
        vectors=vectors,
    )
    return vectors


def naive(vectors: Floats, query: Floats, limit: int, *, candidates: int) -> list[str]:
    """Return what two loops find: candidates by their first values, hits by whole vectors."""
    by_prefix = unit(vectors[:, :WIDTH]) @ unit(query[:WIDTH])
    chosen = np.argsort(-by_prefix)[:candidates]
    order = chosen[np.argsort(-(vectors[chosen] @ query))]
    return [str(n) for n in order[:limit]]
