"""What a collection is and how much it holds, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from decant.embedders import Recipe

from .points import DOCUMENTS, PASSAGES
from .store import Engine
from .target import Target


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
        states: Whether they keep the states of appended tokens.
        passages: How many chunks and records it holds.
        documents: How many documents were indexed into it.
    """

    name: str
    engine: Engine
    place: str
    recipe: Recipe
    dim: int
    sparse: bool
    states: bool
    passages: int
    documents: int

    @classmethod
    def of(cls, target: Target) -> Self:
        """Ask a collection's store."""
        return cls(
            name=target.name,
            engine=target.store.engine,
            place=target.store.place,
            recipe=target.encoder.recipe,
            dim=target.encoder.dim,
            sparse=target.sparse,
            states=target.states is not None,
            passages=target.store.count(target.name, PASSAGES),
            documents=target.store.count(target.name, DOCUMENTS),
        )

    @property
    def digest(self) -> str:
        """The digest of the recipe."""
        return self.recipe.digest()
