"""A live cluster of three nodes goes on while one of them is down.

The cluster must copy every shard to each node by default
(``QDRANT__STORAGE__COLLECTION__REPLICATION_FACTOR=3``), since decant sets no replication.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import uuid

import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    RemoteStore,
    SearchMode,
    Words,
    connect,
)

DOCUMENTS = [
    Document(source=f"d{n}", text=f"ships wait in harbour {n} for the tide") for n in range(40)
]
CA = "QDRANT_CA"


@pytest.mark.live
def test_everything_goes_on_after_a_node_was_killed() -> None:
    addresses = [part for part in os.environ.get("QDRANT_CLUSTER", "").split(",") if part]
    kill = os.environ.get("QDRANT_CLUSTER_KILL", "")
    if len(addresses) != 3 or not kill:
        pytest.skip("no cluster; set QDRANT_CLUSTER and QDRANT_CLUSTER_KILL (see live_server.py)")
    ca = os.environ.get(CA) or None
    name = f"test-{uuid.uuid4().hex}"
    with connect(addresses[0], ca=ca) as store:
        assert isinstance(store, RemoteStore)
        settings = CollectionSettings(words=Words())
        docs = Collection.create(store, name, HashEncoder(16), settings=settings)
        try:
            params = store.requests.client.get_collection(name).config.params
            if (params.replication_factor or 1) < 3:
                pytest.skip("the cluster keeps one copy of a shard; set its replication factor")
            assert docs.index(DOCUMENTS).added == len(DOCUMENTS)
            subprocess.run(shlex.split(kill), check=True, timeout=60)
            for address in addresses[:2]:
                with connect(address, ca=ca) as other:
                    go_on(Collection.open(other, name, HashEncoder(16)))
            with pytest.raises(StoreError):
                connect(addresses[2], ca=ca, timeout=5, attempts=1)
        finally:
            store.drop(name)


def go_on(docs: Collection) -> None:
    """Read, write and search, with one node down."""
    assert docs.index(DOCUMENTS).unchanged == len(DOCUMENTS)
    assert len(list(docs.each())) == len(DOCUMENTS)
    for mode in (SearchMode.DENSE, SearchMode.WORDS, SearchMode.HYBRID):
        assert len(docs.search("ships at tide", mode=mode, limit=5)) == 5
    extra = Document(source="extra", text="a tiger")
    docs.index([extra])
    assert [hit.source for hit in docs.search("tiger", mode=SearchMode.WORDS)] == ["extra"]
    assert docs.check().is_sound
    docs.delete_source("extra")
    assert docs.count() == len(DOCUMENTS)
