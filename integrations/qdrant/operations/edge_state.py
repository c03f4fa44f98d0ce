"""Read the state of a collection in a folder: what the open shard and the disk say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..edge.disk_space import free_bytes
from ..edge.private_copy import allocated_bytes
from ..stores.collection_metadata import CollectionMetadata
from .state import CollectionState, IndexedField, stored_vectors

if TYPE_CHECKING:
    from ..edge.store import EdgeStore


def edge_state(store: EdgeStore, name: str, card: CollectionMetadata) -> CollectionState:
    """Return the state of a collection in a folder.

    Args:
        store: The folder.
        name: The collection.
        card: Its metadata.

    Raises:
        StoreError: There is no such collection, or another process has it open.
    """
    shard = store.open_shard(name)
    with shard.turns.reading():
        info = shard.engine.info()
    indexes = {path: str(index.data_type) for path, index in info.payload_schema.items()}
    return CollectionState(
        points=info.points_count,
        indexed_vectors=info.indexed_vectors_count,
        segments=info.segments_count,
        vectors=stored_vectors(card, shard.layout),
        payload_indexes=tuple(
            IndexedField(path=path, type=kind.rpartition(".")[2].lower())
            for path, kind in sorted(indexes.items())
        ),
        disk_bytes=allocated_bytes(shard.folder),
        free_bytes=free_bytes(shard.folder),
    )
