"""Read the state of a collection from a server: three requests that change nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from decant.embedders import StoreError

from ..server.layouts.from_server import stored_layout
from ..server.payload_indexes import names_of
from ..server.requests import Requests
from ..stores.collection_metadata import CollectionMetadata
from .state import CollectionState, IndexedField, ShardReplica, stored_vectors

if TYPE_CHECKING:
    from qdrant_client import models


def server_state(requests: Requests, name: str, card: CollectionMetadata) -> CollectionState:
    """Return the state of a collection on a server.

    Args:
        requests: Sends the requests.
        name: The collection, or an alias.
        card: Its metadata.

    Raises:
        StoreError: The server does not answer, or there is no such collection.
    """
    client = requests.client
    info = requests.ask(f"looking at {name!r}", partial(client.get_collection, name))
    version = None
    if not requests.is_local:
        version = requests.ask("looking at the server", client.info).version
    warnings = getattr(info, "warnings", None) or ()
    return CollectionState(
        points=info.points_count or 0,
        indexed_vectors=info.indexed_vectors_count or 0,
        segments=info.segments_count,
        vectors=stored_vectors(card, stored_layout(info)),
        payload_indexes=_indexes(info),
        status=str(info.status.value),
        optimizer=getattr(info.optimizer_status, "error", None) or "ok",
        replicas=read_replicas(requests, name),
        server_version=version,
        warnings=tuple(warning.message for warning in warnings),
    )


def read_replicas(requests: Requests, name: str) -> tuple[ShardReplica, ...]:
    """Return the replicas of a collection's shards; empty if the server does not tell this key."""
    if requests.is_local:
        return ()
    ask = partial(requests.client.collection_cluster_info, name)
    try:
        found = requests.ask(f"looking at the shards of {name!r}", ask)
    except StoreError:
        return ()
    here = [
        ShardReplica(
            shard=one.shard_id,
            peer=found.peer_id,
            state=str(one.state.value),
            points=one.points_count,
        )
        for one in found.local_shards
    ]
    elsewhere = [
        ShardReplica(shard=one.shard_id, peer=one.peer_id, state=str(one.state.value))
        for one in found.remote_shards
    ]
    return tuple(sorted((*here, *elsewhere), key=lambda one: (one.shard, one.peer)))


def _indexes(info: models.CollectionInfo) -> tuple[IndexedField, ...]:
    found = {".".join(names_of(path)): index for path, index in info.payload_schema.items()}
    return tuple(
        IndexedField(path=path, type=str(index.data_type.value), points=index.points)
        for path, index in sorted(found.items())
    )
