"""The state of a collection on every engine, against what was written and what the server holds."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from decant.embedders import HashEncoder, Precision
from decant.embedders.doctor import Health
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Engine,
    FieldType,
    PayloadIndex,
    Record,
    ShardReplica,
    Storage,
    Store,
    connect,
    diagnose_store,
    read_collection_state,
)
from qdrant_double import QdrantDouble, grpc_front, reached

YEAR = CollectionSettings(indexed=(PayloadIndex(key="year", type=FieldType.INTEGER),))
DEAD = {"shard_id": 0, "peer_id": 2, "state": "Dead"}


class Rounded(HashEncoder):
    """The same recipe in another precision."""

    @property
    def precision(self) -> Precision:
        return Precision.INT8


def filled(store: Store, settings: CollectionSettings | None = None) -> Collection:
    docs = Collection.create(store, "docs", HashEncoder(16), settings=settings)
    docs.add([Record(id=str(n), text=f"text {n}", metadata={"year": n}) for n in range(10)])
    return docs


def test_every_engine_tells_points_vectors_and_status(store: Store) -> None:
    state = filled(store).info().state
    assert 10 <= state.points <= 12  # and notes
    (dense,) = state.vectors
    assert (dense.kind, dense.dim, dense.bytes_each, dense.compressed_bytes_each) == (
        "dense", 16, 64, 0,
    )  # fmt: skip
    assert state.vector_bytes == 64 * state.points
    assert (state.status, state.optimizer, state.warnings) == ("green", "ok", ())
    is_here = store.engine is Engine.EDGE
    assert (state.disk_bytes is not None) == (state.free_bytes is not None) == is_here


@pytest.mark.parametrize(
    ("storage", "each"), [(Storage.INT8, 16), (Storage.TURBO4, 8), (Storage.TURBO1, 2)]
)
def test_compressed_vectors_are_counted_beside_the_originals(
    edge: Store, storage: Storage, each: int
) -> None:
    state = filled(edge, CollectionSettings(storage=storage)).info().state
    assert state.vectors[0].compressed_bytes_each == each
    assert state.vector_bytes == (64 + each) * state.points


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_a_server_tells_indexes_replicas_and_its_version(double: QdrantDouble, grpc: bool) -> None:
    front = grpc_front(double) if grpc else nullcontext()
    with front as port, reached(double, grpc_port=port) as store:
        filled(store, YEAR)
        double.engine.held["docs"].elsewhere.append(DEAD)
        state = read_collection_state(store, "docs")
    assert state.server_version == "1.19.0"
    assert state.replicas == (
        ShardReplica(shard=0, peer=1, state="Active", points=state.points),
        ShardReplica(shard=0, peer=2, state="Dead"),
    )
    types = {index.path: index.type for index in state.payload_indexes}
    assert types["metadata.year"] == "integer"
    assert {"kind", "root", "source"} <= set(types)


def test_a_folder_tells_its_indexes(edge: Store) -> None:
    filled(edge, YEAR)
    found = {it.path: it.type for it in read_collection_state(edge, "docs").payload_indexes}
    assert found["metadata.year"] == "integer"


def test_reading_the_state_changes_nothing_on_a_server(double: QdrantDouble) -> None:
    with reached(double) as store:
        filled(store, YEAR)
    del double.engine.held["docs"].indexes["root"]
    double.asked.clear()
    with connect(double.url, read_only=True) as store:
        state = read_collection_state(store, "docs")
    assert {it.method for it in double.asked} == {"GET"}
    assert "root" not in {index.path for index in state.payload_indexes}


def test_the_doctor_names_a_replica_that_failed(double: QdrantDouble) -> None:
    with reached(double) as store:
        filled(store)
        double.engine.held["docs"].elsewhere.append(DEAD)
        findings = {it.name: it for it in diagnose_store(store).findings}
    assert findings["docs: replicas"].health is Health.PROBLEM
    assert findings["docs: replicas"].detail == "shard 0 on peer 2 is Dead"


def test_the_doctor_names_several_precisions(store: Store) -> None:
    filled(store)
    Collection.open(store, "docs", Rounded(16)).add([Record(text="another")])
    findings = {it.name: it for it in diagnose_store(store).findings}
    assert findings["docs: precisions"].health is Health.NOTE
