"""Snapshots on servers: made, listed, copied, deleted; refused by name where there are none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from decant.embedders import StoreError
from decant.integrations.qdrant import Collection, Record, Snapshots, Store, StoreInputError
from decant.integrations.qdrant.dumps.snapshots import SnapshotPatience
from decant.integrations.qdrant.stores.input_errors import ReadOnlyError
from dump_scene import ENCODER
from qdrant_double import QdrantDouble


@pytest.fixture
def docs(server: Store) -> Collection:
    made = Collection.create(server, "docs", ENCODER)
    made.add([Record(text="rain")])
    return made


@pytest.fixture
def snapshots(server: Store, docs: Collection) -> Snapshots:
    return Snapshots(server, docs.name)


def test_a_snapshot_is_made_listed_copied_and_deleted(
    snapshots: Snapshots, double: QdrantDouble, scratch: Path
) -> None:
    assert snapshots.list() == ()
    made = snapshots.create()
    assert snapshots.list() == (made,)
    (request,) = double.requests("POST", "/snapshots")
    assert request.parameters == {"wait": "false"}
    path = snapshots.download(made.name, scratch / "copy")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == made.sha256
    assert path.stat().st_size == made.bytes
    with pytest.raises(StoreInputError, match="there is a file"):
        snapshots.download(made.name, path)
    second = snapshots.create()
    assert second.name != made.name
    snapshots.delete(made.name)
    assert snapshots.list() == (second,)


def test_a_copy_that_is_not_what_the_server_wrote_is_deleted(
    snapshots: Snapshots, double: QdrantDouble, scratch: Path
) -> None:
    made = snapshots.create()

    def corrupt(method: str, path: str) -> None:
        if (method, path.endswith(made.name)) == ("GET", True):
            double.engine.named("docs")[1].snapshots[made.name] = b"other bytes"

    double.before = corrupt
    with pytest.raises(StoreError, match="gave other bytes"):
        snapshots.download(made.name, scratch / "copy")
    assert list(scratch.glob("*copy*")) == []


def test_recovering_names_a_place_that_the_server_can_read(
    snapshots: Snapshots, double: QdrantDouble
) -> None:
    made = snapshots.create()
    snapshots.recover(made.name)
    snapshots.recover("file:///snapshots/docs/one.snapshot")
    assert double.engine.named("docs")[1].recovered == [
        f"{double.url}/collections/docs/snapshots/{made.name}",
        "file:///snapshots/docs/one.snapshot",
    ]


def test_unknown_snapshots_are_refused_with_those_that_are_there(
    snapshots: Snapshots, scratch: Path
) -> None:
    made = snapshots.create()
    for use in (
        lambda: snapshots.delete("none"),
        lambda: snapshots.recover("none"),
        lambda: snapshots.download("none", scratch / "copy"),
    ):
        with pytest.raises(StoreInputError, match=f"there are: '{made.name}'"):
            use()


def test_a_snapshot_that_does_not_come_is_an_error(
    server: Store, docs: Collection, double: QdrantDouble
) -> None:
    times = iter(range(100))
    patience = SnapshotPatience(seconds=3, sleep=lambda _: None, clock=lambda: next(times))
    slow = Snapshots(server, docs.name, patience=patience)
    double.before = lambda *_: double.engine.named("docs")[1].snapshots.clear()
    with pytest.raises(StoreError, match="has not written a snapshot of 'docs' within 3 s"):
        slow.create()


@pytest.mark.parametrize("engine", ["edge", "local"])
def test_folders_and_local_mode_have_none_and_name_the_way(
    engine: str, request: pytest.FixtureRequest
) -> None:
    store: Store = request.getfixturevalue(engine)
    Collection.create(store, "docs", ENCODER)
    with pytest.raises(StoreInputError, match=r"only a Qdrant server makes snapshots.*dump\("):
        Snapshots(store, "docs")


def test_a_connection_that_only_reads_lists_and_makes_none(
    double: QdrantDouble, snapshots: Snapshots
) -> None:
    from decant.integrations.qdrant import connect

    made = snapshots.create()
    with connect(double.url, read_only=True) as store:
        reading = Snapshots(store, "docs")
        assert reading.list() == (made,)
        with pytest.raises(ReadOnlyError):
            reading.create()
