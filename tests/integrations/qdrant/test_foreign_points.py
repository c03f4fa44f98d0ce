"""Points that another program wrote into a collection of decant's."""

from __future__ import annotations

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import Collection, Record, connect
from decant.integrations.qdrant.stores.protocol import Point

FOREIGN = "0f0e4f7a-6f3e-4a52-9d4a-9f3f8c1f6f0e"


@pytest.fixture
def foreign(collection: Collection) -> Collection:
    """Return a collection with one record, and one point that says nothing of its kind."""
    collection.add([Record(id="own", text="a cat")])
    vector = np.full(16, 0.25, np.float32)
    point = Point(id=FOREIGN, payload={"page_content": "a dog", "number": 1}, dense=vector)
    collection.store.upsert("docs", [point])
    return collection


def test_a_foreign_point_that_a_search_finds_is_named_with_the_way_out(
    foreign: Collection,
) -> None:
    with pytest.raises(StoreError, match=f"point {FOREIGN} .* only number, page_content") as caught:
        foreign.search("a cat")
    assert f"collection.delete(['{FOREIGN}'])" in str(caught.value)
    assert foreign.delete([FOREIGN]) == 1
    assert [hit.id for hit in foreign.search("a cat")] == ["own"]


def test_a_foreign_point_is_no_passage(foreign: Collection) -> None:
    assert foreign.count() == 1
    assert [passage.id for passage in foreign.each()] == ["own"]
    assert [passage.id for passage in foreign.get([FOREIGN, "own"])] == ["own"]
    assert foreign.check().is_sound
    assert foreign.add([Record(id=FOREIGN, text="mine")]) == [FOREIGN]
    assert [passage.text for passage in foreign.get([FOREIGN])] == ["mine"]


def test_a_foreign_point_with_a_kind_of_ours_is_named_by_all_that_read_it(
    collection: Collection,
) -> None:
    collection.store.upsert("docs", [Point(id=FOREIGN, payload={"kind": "record", "id": "x"})])
    with pytest.raises(StoreError, match=f"point {FOREIGN} was found as a passage and holds none"):
        collection.get([FOREIGN])
    with pytest.raises(StoreError, match="only id, kind"):
        list(collection.each())


def test_a_foreign_point_with_a_number_for_an_id_is_named_by_it() -> None:
    client = QdrantClient(":memory:")
    with connect(client) as store:
        docs = Collection.create(store, "docs", HashEncoder(8))
        client.upsert("docs", [models.PointStruct(id=7, vector={"dense": [0.1] * 8}, payload={})])
        with pytest.raises(StoreError, match="delete the point 7 with the program that wrote it"):
            docs.search("x")
    client.close()
