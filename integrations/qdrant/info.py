"""What a collection is and how much it holds, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from decant.embedders import Recipe

from .late.token_vectors import StoredTokenVectors
from .operations.read_state import read_collection_state
from .operations.state import CollectionState
from .points.handle import Target
from .points.payloads import DOCUMENTS, PASSAGES
from .points.provenance import Filling, read_fillings
from .stores.collection_settings import StoredLayout, Tenants
from .stores.protocol import Engine
from .stores.search_defaults import SearchDefaults
from .stores.words import Words


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionInfo:
    """What a collection is and how much it holds.

    Args:
        name: Its name.
        engine: The engine that holds it.
        place: The folder or address.
        recipe: The recipe, which decides its vectors.
        dim: The width D of the dense vectors.
        sparse: Whether passages also have sparse vectors.
        soft_tokens: Whether passages also have soft tokens.
        token_vectors: What is kept of the token vectors of passages; None: nothing is.
        words: How the words of passages are indexed; None: they are not.
        layout: How the engine stores it: compression, shards, replicas.
        tenants: How passages belong to tenants; None: they belong to nobody. With tenants, all
            numbers are those of one.
        passages: How many chunks and records it holds.
        documents: How many documents were indexed into it.
        filled_by: How its vectors were made; empty if that is unknown, because an older decant
            filled it, or if it holds none.
        asked_by: How the present encoder makes the vectors of queries.
        search_defaults: How it is searched where a search does not specify it; None: by all
            rankings that it has, fused by :class:`Fusion`'s defaults.
        state: How large and how healthy it is: bytes, indexes, replicas, status, warnings. None
            with tenants, because its numbers are those of all tenants together; see
            :func:`read_collection_state`.
    """

    name: str
    engine: Engine
    place: str
    recipe: Recipe
    dim: int
    sparse: bool
    soft_tokens: bool
    token_vectors: StoredTokenVectors | None
    words: Words | None
    layout: StoredLayout
    tenants: Tenants | None
    passages: int
    documents: int
    filled_by: tuple[Filling, ...]
    asked_by: Filling
    search_defaults: SearchDefaults | None
    state: CollectionState | None

    @classmethod
    def of(cls, target: Target) -> Self:
        """Read the information from a collection's store."""
        return cls(
            name=target.called,
            engine=target.store.engine,
            place=target.store.place,
            recipe=target.encoder.recipe,
            dim=target.encoder.dim,
            sparse=target.sparse,
            soft_tokens=target.soft_tokens is not None,
            token_vectors=target.token_vectors,
            words=target.words,
            layout=target.store.layout(target.name),
            tenants=target.tenants,
            passages=target.store.count(target.name, PASSAGES),
            documents=target.store.count(target.name, DOCUMENTS),
            filled_by=read_fillings(target.store, target.name),
            asked_by=Filling.of(target.encoder),
            search_defaults=target.search,
            state=None
            if target.tenants is not None
            else read_collection_state(target.store, target.name),
        )

    @property
    def is_mixed(self) -> bool:
        """Whether vectors of more than one precision are compared, those of queries included.

        Vectors that a caller passed, and those of unknown precision, do not count.
        """
        known = {item.precision for item in (*self.filled_by, self.asked_by) if item.is_known}
        return len(known) > 1

    @property
    def digest(self) -> str:
        """The digest of the recipe."""
        return self.recipe.digest()
