"""A store whose collections all have tenants, seen by one of them: what stores promise holds here.

Tests of stores and of collections run over it unchanged. Another tenant has points of the same ids
in every collection, which none of these tests may notice.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import numpy as np

from decant.integrations.qdrant import (
    CollectionMetadata,
    CollectionSettings,
    Point,
    Store,
    Tenants,
    TenantStore,
)
from decant.integrations.qdrant.stores.aliases import FoundCollection

_KEY = "0123456789abcdef"
_OF_POINTS = frozenset(
    {"upsert", "set_fields", "delete", "retrieve", "scroll", "query", "rank", "count"}
)


class TenantedStore:
    """Makes collections with tenants, and shows what one tenant has in them.

    Args:
        store: Holds them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name not in _OF_POINTS:
            return getattr(self._store, name)

        def call(collection: str, *arguments: Any, **options: Any) -> Any:
            return getattr(self._tenant(collection, "acme"), name)(
                collection, *arguments, **options
            )

        return call

    @property
    def identity(self) -> object:
        """That of the tenant's store."""
        return self._store.identity, "tenant", "acme"

    def create(self, name: str, card: CollectionMetadata, settings: CollectionSettings) -> None:
        """Make a collection with tenants, of which another one has points."""
        held = replace(card, tenants=Tenants(), tenant_key=_KEY)
        self._store.create(name, held, replace(settings, tenants=Tenants()))
        row = np.ones(card.dim, np.float32)
        points = [
            Point(
                id=str(uuid.UUID(int=number + 1)),
                payload={
                    "kind": "thing",
                    "text": f"text {number}",
                    "source": "s",
                    "metadata": {"n": number},
                },
                dense=row,
            )
            for number in range(8)
        ]
        self._tenant(name, "globex").upsert(name, points)

    def card(self, name: str) -> CollectionMetadata:
        """Return the metadata as if there were no tenants."""
        return replace(self._store.card(name), tenants=None, tenant_key="")

    def find(self, name: str) -> FoundCollection:
        """Return the collection that a name means, as if there were no tenants."""
        real = self._store.find(name).name
        return FoundCollection(name=real, card=self.card(real))

    def _tenant(self, name: str, tenant: str) -> TenantStore:
        found = FoundCollection(name=name, card=replace(self._store.card(name), tenant_key=_KEY))
        return TenantStore(self._store, self._store, found, tenant, called=name)
