"""Which collections of a Qdrant server some models can serve, as ``decant serve --store`` says.

A model serves a collection whose metadata have its recipe and width. Clients without the model
prove that by the golden vectors that the collection keeps (``inference/proof.py``), so those that
are missing are added here, where the model is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from decant.embedders import Encoder, Role, StoreError

from .collection import Collection
from .inference.proof import COSINE_TOLERANCE, cosine
from .points.golden import GoldenVectors, read_golden_vectors
from .points.provenance import Filling
from .stores.collection_metadata import CollectionMetadata
from .stores.protocol import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedCollection:
    """A collection of a server, and the model that serves it.

    Args:
        name: The collection's name, or an alias.
        recipe: What filled it, for messages; "" if that cannot be read.
        model: The name of the model that has its recipe; None: no model here has it.
        golden_added: Whether golden vectors of the model were missing, and were added.
        problem: Why clients without the model cannot use it; None: they can.
    """

    name: str
    recipe: str
    model: str | None = None
    golden_added: bool = False
    problem: str | None = None


def check_served_collections(
    store: Store, models: Mapping[str, Encoder]
) -> tuple[ServedCollection, ...]:
    """Compare the collections of a server with models, and add golden vectors that are missing.

    Args:
        store: The server.
        models: The encoders by the names under which they are served.

    Returns:
        One for each collection that decant made there, sorted by name.

    Raises:
        StoreError: The server cannot be asked.
    """
    return tuple(_check(store, name, models) for name in store.names())


def _check(store: Store, name: str, models: Mapping[str, Encoder]) -> ServedCollection:
    try:
        found = store.find(name)
        card = found.card
    except StoreError as error:
        return ServedCollection(name=name, recipe="", problem=str(error))
    recipe = f"{card.recipe.base} ({card.recipe.digest()}, {card.dim} wide)"
    model = next((key for key, encoder in models.items() if _is_of(card, encoder)), None)
    if model is None:
        return ServedCollection(
            name=name, recipe=recipe, problem="no model here has its recipe; serve its bundle, too"
        )
    try:
        added = _keep_golden_vectors(store, found.name, models[model])
    except StoreError as error:
        return ServedCollection(name=name, recipe=recipe, model=model, problem=str(error))
    return ServedCollection(name=name, recipe=recipe, model=model, golden_added=added)


def _is_of(card: CollectionMetadata, encoder: Encoder) -> bool:
    return card.recipe.digest() == encoder.recipe.digest() and card.dim == encoder.dim


def _keep_golden_vectors(store: Store, name: str, encoder: Encoder) -> bool:
    """Add the golden vectors of an encoder if the collection keeps none of its precision.

    Raises:
        StoreError: Those that it keeps are not the encoder's, or the store cannot write.
    """
    precision = Filling.of(encoder).precision
    kept = [one for one in read_golden_vectors(store, name) if one.precision == precision]
    if not kept:
        Collection.open(store, name, encoder).keep_golden_vectors()
        return True
    for golden in kept:
        nearest = _nearness(golden, encoder)
        if nearest < 1 - COSINE_TOLERANCE:
            raise StoreError(
                f"its golden vectors in {precision} were made by another graph: they have the "
                f"cosine {nearest:.6f} with those of this model. Serve the bundle that filled it; "
                "or, if this one should be right, call keep_golden_vectors() of the collection, "
                "and index it again"
            )
    return False


def _nearness(golden: GoldenVectors, encoder: Encoder) -> float:
    return min(
        cosine(golden.vectors[role], encoder.encode([golden.text], role=role).dense[0])
        for role in Role
    )
