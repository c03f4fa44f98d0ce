"""The prefix of a dense vector: its first values, normalised again, as a vector of its own.

Models that are trained for it (Kusupati et al. 2022, "Matryoshka Representation Learning", arXiv
2205.13147) put what matters most first. So a search finds many candidates by their short prefixes,
and ranks them by their whole vectors ("adaptive retrieval" there). Stores make prefixes when they
write points, and nothing above a store gives any. Invariant: the scores of hits are cosines of
whole vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from decant.embedders import Encoder, RecipeError
from decant.embedders.encoding import cut

from ..stores.collection_settings import Layout, Originals, Storage, StoredLayout
from ..stores.protocol import Point
from ..stores.queries import DenseQuery, Query, is_dense, text_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

OVERSAMPLING = 10
"""How many candidates the whole vectors rescore, as a multiple of a search's limit."""

_ROUNDING = 1e-4  # of float32 values between -1 and 1, as two programs normalise them


def chosen_prefix(asked: Layout, encoder: Encoder) -> int:
    """Return how long the prefixes of a new collection are; 0: it has none.

    Args:
        asked: Its layout.
        encoder: The encoder that will fill it.

    Raises:
        RecipeError: The prefix is not shorter than the vectors, or the encoder's model was not
            trained to be cut to it, and ``asked`` does not allow that.
    """
    prefix, recipe = asked.prefix or 0, encoder.recipe
    if not prefix:
        return 0
    if prefix >= encoder.dim:
        raise RecipeError(
            f"prefix={prefix} is not shorter than the vectors of {recipe.base}, which have "
            f"{encoder.dim} values; give a smaller one, such as {max(1, encoder.dim // 4)}, or 0 "
            "for none"
        )
    if asked.allow_any_dim or (recipe.min_dim is not None and prefix >= recipe.min_dim):
        return prefix
    if recipe.min_dim is None:
        raise RecipeError(
            f"prefix={prefix}, and nothing says that {recipe.base} was trained to be cut (its "
            "recipe has no min_dim), so searches by a prefix may miss much; if its model card "
            "says so, export it with Choices(min_dim=…), or allow it all the same with "
            "allow_any_dim=True (--allow-any-dim), or give 0 for none"
        )
    raise RecipeError(
        f"{recipe.base} was trained to be cut to {recipe.min_dim} values or more, got "
        f"prefix={prefix}; give at least {recipe.min_dim}, or allow_any_dim=True (--allow-any-dim)"
    )


def with_prefixes(points: Sequence[Point], prefix: int) -> Sequence[Point]:
    """Return points with the prefixes of their dense vectors, as far as they have any.

    Args:
        points: Points to store.
        prefix: How long the collection's prefixes are; 0: it has none.
    """
    rows = [point.dense for point in points if point.dense is not None]
    if not prefix or not rows:
        return points
    made = iter(cut(np.stack(rows), dim=prefix, normalize=True))
    return [point if point.dense is None else replace(point, prefix=next(made)) for point in points]


def query_prefix(query: Query, prefix: int) -> NDArray[np.float32] | None:
    """Return what a query compares with prefixes; None: it searches other vectors alone.

    An exact query compares all whole vectors, and so does one whose vector the server makes.

    Args:
        query: The query.
        prefix: How long the collection's prefixes are; 0: it has none.
    """
    if not prefix or not is_dense(query) or text_of(query) is not None:
        return None
    if isinstance(query, DenseQuery):
        return None if query.exact else query_prefix(np.asarray(query.vector), prefix)
    vector: NDArray[np.float32] = np.asarray(query, np.float32)
    found: NDArray[np.float32] = cut(vector[None], dim=prefix, normalize=True)[0]
    return found


def is_prefix(found: NDArray[np.float32] | None, dense: NDArray[np.float32]) -> bool:
    """Return whether a stored prefix is that of a stored dense vector."""
    if found is None:
        return False
    right = cut(dense[None], dim=found.size, normalize=True)[0]
    return bool(np.allclose(found, right, rtol=0, atol=_ROUNDING))


def whole_part(layout: StoredLayout) -> StoredLayout:
    """Return how the whole vectors are stored in a layout with prefixes: not compressed."""
    return replace(layout, storage=Storage.FULL)


def prefix_part(layout: StoredLayout) -> StoredLayout:
    """Return how the prefixes are stored; what a search compares first lies in memory."""
    if layout.storage is Storage.FULL:
        return replace(layout, originals=Originals.MEMORY)
    return layout
