"""What a server is sent for a collection with tenants: its vector indexes, and its shard keys.

With ``Tenants(dedicated=…)`` a collection is sharded by the caller (custom sharding): one shard key
for all tenants, and one for each dedicated tenant. Every request of a tenant names its own key, and
the common one as fallback, so a tenant that gets a shard later needs no other requests. Payload
conditions, not shards, keep tenants apart: a wrong shard finds nothing, never another's passages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from qdrant_client import models

from decant.embedders import StoreError

from ...stores.collection_metadata import CollectionMetadata
from ...stores.collection_settings import SHARED_TENANT, CollectionSettings
from ...stores.input_errors import StoreInputError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.conversions.common_types import QueryResponse

_FALLBACK = (1, 16)  # the first server that takes a shard key with a fallback
_SELECTING = frozenset({"upsert", "delete", "retrieve", "scroll", "query_points", "count"})


def check_tenants(settings: CollectionSettings, version: Sequence[int] | None, place: str) -> None:
    """Refuse dedicated shards where there are none.

    Args:
        settings: Those of a new collection.
        version: The server's; None for the client's local mode.
        place: The address, for messages.

    Raises:
        StoreInputError: The client's local mode has no shards, or the server is too old.
    """
    if settings.tenants is None or settings.tenants.dedicated is None:
        return
    if version is None or tuple(version) < _FALLBACK:
        raise StoreInputError(
            f"tenants with dedicated shards need a cluster of Qdrant servers of version 1.16 or "
            f"later, and {place} is none; leave Tenants(dedicated=…) out"
        )


def hnsw_of(settings: CollectionSettings) -> models.HnswConfigDiff:
    """Return the settings of the vector index: over all points, or within each tenant."""
    links, payload_links = settings.graph_links
    return models.HnswConfigDiff(
        m=links, ef_construct=settings.hnsw_ef_construct, payload_m=payload_links
    )


def sharding_of(card: CollectionMetadata) -> models.ShardingMethod | None:
    """Return who distributes points among shards; None: the server does, as usual."""
    return models.ShardingMethod.CUSTOM if _is_keyed(card) else None


def make_shard_keys(
    client: QdrantClient, name: str, card: CollectionMetadata, ask: Callable[[str, Any], object]
) -> None:
    """Make the shard keys of a new collection, if it is to have some.

    Raises:
        StoreError: The server refused, for example because it is no part of a cluster.
    """
    if card.tenants is None or card.tenants.dedicated is None:
        return
    for key in (SHARED_TENANT, *card.tenants.dedicated):
        try:
            ask(f"making a shard of {name!r}", partial(client.create_shard_key, name, key))
        except StoreError as error:
            if "already exists" not in str(error):  # made by an attempt whose answer got lost
                raise


def of_tenant(client: QdrantClient, tenant: str) -> QdrantClient:
    """Return a client whose requests about points go to the shards of one tenant."""
    selector = models.ShardKeyWithFallback(target=tenant, fallback=SHARED_TENANT)
    return cast("QdrantClient", _OfTenant(client, selector))


class _OfTenant:
    """A client that adds a shard key to each request about points.

    Args:
        client: Sends the requests.
        selector: The shard key.
    """

    def __init__(self, client: QdrantClient, selector: models.ShardKeyWithFallback) -> None:
        self._client = client
        self._selector = selector

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - what the client has
        held = getattr(self._client, name)
        return partial(held, shard_key_selector=self._selector) if name in _SELECTING else held

    def query_batch_points(
        self, name: str, requests: Sequence[models.QueryRequest]
    ) -> list[QueryResponse]:
        """Search several times in the tenant's shards."""
        key = {"shard_key": self._selector}
        chosen = [request.model_copy(update=key) for request in requests]
        return self._client.query_batch_points(name, chosen)

    def batch_update_points(
        self, name: str, operations: Sequence[models.UpdateOperation]
    ) -> list[models.UpdateResult]:
        """Change payloads in the tenant's shards."""
        chosen = [_with_key(operation, self._selector) for operation in operations]
        return self._client.batch_update_points(name, chosen)


def _with_key(
    operation: models.UpdateOperation, selector: models.ShardKeyWithFallback
) -> models.UpdateOperation:
    (name,) = type(operation).model_fields  # each operation is one change
    change = getattr(operation, name).model_copy(update={"shard_key": selector})
    return operation.model_copy(update={name: change})


def _is_keyed(card: CollectionMetadata) -> bool:
    return card.tenants is not None and card.tenants.dedicated is not None
