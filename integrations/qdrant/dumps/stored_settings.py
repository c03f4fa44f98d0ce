"""Read the settings of a stored collection from its engine: a file of its own, for either engine.

And make a restored collection one like any other, which only its engine can do.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

from decant.embedders.files import write_atomically

from ..stores.collection_metadata import CollectionMetadata
from ..stores.protocol import Engine, Store
from .header import GraphSettings

if TYPE_CHECKING:
    from ..edge.store import EdgeStore
    from ..server.store import RemoteStore


def is_server(store: Store) -> bool:
    """Return whether a store is a server, and neither a folder nor the client's local mode."""
    if store.engine is Engine.EDGE:
        return False
    return not cast("RemoteStore", store).requests.is_local


def read_graph_settings(store: Store, name: str) -> GraphSettings:
    """Return how the vector index of a collection is built when nothing defers it."""
    if store.engine is Engine.EDGE:
        # Imported here, because a server does not need qdrant-edge, nor a folder qdrant-client.
        from ..edge.layouts import read_graph

        shard = cast("EdgeStore", store).open_shard(name)
        links, tenant_links, candidates = read_graph(shard.copy or shard.folder)
        return GraphSettings(links=links, tenant_links=tenant_links, ef_construct=candidates)
    from ..server.bulk.deferred_index import deferred_links

    requests = cast("RemoteStore", store).requests
    look = partial(requests.client.get_collection, name)
    info = requests.ask(f"looking at {name!r}", look)
    held = info.config.hnsw_config
    deferred = deferred_links(info, where=f"the collection {name!r} at {requests.place}")
    return GraphSettings(
        links=held.m if deferred is None else deferred.m,
        tenant_links=held.payload_m if deferred is None else deferred.payload_m,
        ef_construct=held.ef_construct,
    )


def read_average_length(store: Store, name: str) -> float | None:
    """Return how many words texts have on average, as a collection on a server notes it."""
    if store.engine is Engine.EDGE:
        return None
    from ..server.collections import LENGTH

    requests = cast("RemoteStore", store).requests
    look = partial(requests.client.get_collection, name)
    noted = (requests.ask(f"looking at {name!r}", look).config.metadata or {}).get(LENGTH)
    return None if noted is None else float(noted)


def note_average_length(store: Store, name: str, length: float | None) -> None:
    """Note that in a new collection, so that words weigh there as they did; not in a folder."""
    if store.engine is Engine.EDGE or length is None:
        return
    from ..server.collections import LENGTH

    requests = cast("RemoteStore", store).requests
    note = partial(requests.client.update_collection, name, metadata={LENGTH: length})
    requests.ask(f"noting the length of texts in {name!r}", note)


def complete(store: Store, name: str, card: CollectionMetadata) -> None:
    """Let a collection that was restored be opened, in one atomic step."""
    text = replace(card, restoring=None).to_json()
    if store.engine is Engine.EDGE:
        from ..edge.folder import CARD as FILE

        shard = cast("EdgeStore", store).open_shard(name)
        write_atomically(shard.folder.parent / FILE, text)
        return
    from ..server.collections import CARD

    requests = cast("RemoteStore", store).requests
    note = partial(requests.client.update_collection, name, metadata={CARD: text})
    requests.ask(f"completing the restored collection {name!r}", note)
