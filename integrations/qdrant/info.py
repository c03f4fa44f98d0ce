"""What a collection is and how much it holds, as one value."""

from __future__ import annotations

from dataclasses import dataclass

from decant.embedders import Recipe

from .store import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionInfo:
    """What a collection is and how much it holds.

    Args:
        name: Its name.
        engine: Which engine holds it.
        place: The folder or address.
        recipe: What decides its vectors.
        dim: The width D of the dense ones.
        sparse: Whether passages have sparse ones, too.
        passages: How many chunks and records it holds.
        documents: How many documents were indexed into it.
    """

    name: str
    engine: Engine
    place: str
    recipe: Recipe
    dim: int
    sparse: bool
    passages: int
    documents: int

    @property
    def digest(self) -> str:
        """The digest of the recipe."""
        return self.recipe.digest()
