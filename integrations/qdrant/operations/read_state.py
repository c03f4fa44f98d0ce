"""Read the state of a collection from its engine: a file of its own, which imports either."""

from __future__ import annotations

from typing import cast

from ..stores.input_errors import check_name
from ..stores.protocol import Engine, Store
from .state import CollectionState


def read_collection_state(store: Store, name: str) -> CollectionState:
    """Return how large and how healthy a collection is, without the encoder that filled it.

    On a server this is some four small requests. With a key that may not see the cluster, the
    replicas are left out.

    Args:
        store: What :func:`connect` returned.
        name: The collection, or an alias of a server.

    Raises:
        StoreError: There is no such collection, or the store failed.
    """
    check_name(name)
    found = store.find(name)
    name, card = found.name, found.card
    if store.engine is Engine.EDGE:
        from ..edge.store import EdgeStore
        from .edge_state import edge_state

        return edge_state(cast("EdgeStore", store), name, card)
    # These modules import qdrant-client, which a folder does not need.
    from ..server.store import RemoteStore
    from .server_state import server_state

    return server_state(cast("RemoteStore", store).requests, name, card)
