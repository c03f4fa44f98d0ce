"""Matryoshka at load time: vectors cut to their first values, and normalised again.

Models that are trained for it (Kusupati et al. 2022, "Matryoshka Representation Learning", arXiv
2205.13147, section 3) put what matters most first. The graph stays as it is; its output is cut.
Invariant: the vectors are those of an export with ``Recipe.dim``, up to rounding.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import RecipeError
from ..recipe.recipe import Recipe

_SMALLEST_LENGTH = 1e-12  # the constant of torch.nn.functional.normalize, which the graph uses


def cut_recipe(recipe: Recipe, *, width: int, dim: int, allow_any_dim: bool) -> Recipe:
    """Return the recipe of vectors that are cut to ``dim`` values.

    Args:
        recipe: The recipe of the whole vectors.
        width: Their width.
        dim: How many values are kept; if all are kept, the recipe is returned as it is.
        allow_any_dim: Whether a model may be cut that was not trained for it, or shorter than it
            was trained.

    Raises:
        RecipeError: ``dim`` is below 1 or above the width, or, without ``allow_any_dim``, the
            recipe has no ``min_dim`` or a larger one.
    """
    if dim < 1:
        raise RecipeError(f"dim must be at least 1, got {dim}")
    if dim > width:
        raise RecipeError(
            f"{recipe.base} gives vectors of {width} values, and dim={dim} asks for more; pass at "
            f"most {width}, or None for all"
        )
    if dim == width:
        return recipe
    if not allow_any_dim and recipe.min_dim is None:
        raise RecipeError(
            f"dim={dim}, and nothing says that {recipe.base} was trained to be cut (its recipe has "
            "no min_dim); if its model card does, export it with Choices(min_dim=…), "
            "or cut it all the same with allow_any_dim=True (--allow-any-dim)"
        )
    if not allow_any_dim and recipe.min_dim is not None and dim < recipe.min_dim:
        raise RecipeError(
            f"{recipe.base} was trained to be cut to {recipe.min_dim} values or more, got "
            f"dim={dim}; pass at least {recipe.min_dim}, or allow_any_dim=True (--allow-any-dim)"
        )
    return replace(recipe, dim=dim)


def cut(vectors: NDArray[np.float32], *, dim: int, normalize: bool) -> NDArray[np.float32]:
    """Return the first ``dim`` values of each vector, normalised again if ``normalize``.

    Args:
        vectors: float32, shape (B, D), D at least ``dim``; it is not changed.
        dim: How many values are kept.
        normalize: Whether each cut vector is divided by its length.

    Returns:
        float32, shape (B, dim).

    >>> cut(np.array([[3.0, 4.0, 12.0]], np.float32), dim=2, normalize=True).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    kept = np.ascontiguousarray(vectors[:, :dim])  # (B, dim)
    if not normalize:
        return kept
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)  # (B, 1)
    return np.asarray(kept / np.maximum(lengths, _SMALLEST_LENGTH), np.float32)
