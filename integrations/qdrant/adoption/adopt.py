"""Adopt a collection of another program: audit it, then write decant's metadata alone."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from decant.embedders import CollectionMismatch, Encoder

from ..points.handle import Target
from ..server.store import RemoteStore
from ..stores.collection_metadata import CollectionMetadata
from ..stores.input_errors import StoreInputError
from ..stores.protocol import Store
from .audit import audit_sample
from .settings import AuditSettings

_SCORED_AS_COSINE = ("Cosine", "Dot")


def adopt_target(store: Store, name: str, encoder: Encoder, settings: AuditSettings) -> Target:
    """Adopt a collection and return its handle; see :meth:`Collection.adopt`.

    Raises:
        CollectionMismatch: The audit did not pass.
        StoreError: The store is a folder, the collection does not exist or was adopted, or its
            distance is not one whose scores are cosines.
    """
    report, sample = audit_sample(store, name, encoder, settings)
    if not report.passed:
        raise CollectionMismatch(
            f"the collection {name!r} at {store.place} was not adopted, and nothing was written: "
            f"{report.summary}. `decant audit` shows more; adopt it with the encoder that filled "
            "it, or move its texts into a collection of decant's"
        )
    distance = sample.space.distance
    if distance not in _SCORED_AS_COSINE or (distance == "Dot" and not encoder.recipe.normalize):
        raise StoreInputError(
            f"the collection {name!r} compares vectors by {distance}, whose scores are no cosines; "
            "move its texts into a collection of decant's"
        )
    card = replace(CollectionMetadata.of(encoder), sparse=False, payload_layout=sample.layout)
    cast("RemoteStore", store).adopt(name, card)
    return Target(
        store=store,
        name=name,
        mark=card.mark,
        encoder=encoder,
        sparse=False,
        payload_layout=card.payload_layout,
    )
