"""What is particular to Edge: folders, locks between processes, damage on the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from decant.embedders import HashEncoder, Role, StoreError
from decant.integrations.qdrant import (
    Collection,
    Document,
    Equals,
    Point,
    Record,
    Store,
    connect,
)
from decant.integrations.qdrant.stores.point_ids import record_id

HOLD = """
import sys
from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, connect
with connect(sys.argv[1]) as store:
    Collection.open(store, "docs", HashEncoder(16)).count()
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def filled(scratch: Path) -> Path:
    """Return a folder with a collection of one record, which nobody has open."""
    with connect(scratch / "index") as store:
        Collection.create(store, "docs", HashEncoder(16)).add([Record(id="1", text="one")])
    return scratch / "index"


def test_only_one_process_at_a_time_may_open_a_collection(filled: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(filled)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    with connect(filled) as store:
        with pytest.raises(StoreError, match="is locked, because another process"):
            Collection.open(store, "docs", HashEncoder(16))
        with pytest.raises(StoreError, match="is locked"):
            store.drop("docs")
        assert store.names() == ["docs"]
        holder.stdin.close()
        assert holder.wait(20) == 0
        holder.stdout.close()
        assert Collection.open(store, "docs", HashEncoder(16)).count() == 1


def test_a_folder_is_made_only_when_a_collection_is(scratch: Path) -> None:
    with connect(scratch / "deep" / "index") as store:
        assert store.names() == []
        with pytest.raises(StoreError, match="holds no collection yet"):
            Collection.open(store, "docs", HashEncoder(16))
        assert not (scratch / "deep").exists()
        Collection.create(store, "docs", HashEncoder(16))
        assert store.names() == ["docs"]


def test_a_file_is_no_store(scratch: Path) -> None:
    (scratch / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        connect(scratch / "file")


def test_what_decant_did_not_make_is_left_alone(scratch: Path) -> None:
    (scratch / "docs").mkdir()
    (scratch / "docs" / "precious").write_text("x")
    with connect(scratch) as store:
        assert store.names() == []
        with pytest.raises(StoreError, match="was not made by decant"):
            Collection.open(store, "docs", HashEncoder(16))
        with pytest.raises(StoreError, match="was not made by decant"):
            Collection.create(store, "docs", HashEncoder(16))
        with pytest.raises(StoreError, match="was not made by decant"):
            store.drop("docs")
    assert (scratch / "docs" / "precious").read_text() == "x"


def test_a_creator_that_fails_leaves_nothing(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)  # stands for the disk
    with connect(scratch / "index") as store:
        with pytest.raises(StoreError, match="No space left on device"):
            Collection.create(store, "docs", HashEncoder(16))
        assert store.names() == []
    assert list((scratch / "index").iterdir()) == []


def test_what_a_killed_creator_left_is_swept_up_later(scratch: Path) -> None:
    stale, fresh = scratch / ".docs.1.part", scratch / ".docs.2.part"
    for folder in (stale, fresh):
        (folder / "shard").mkdir(parents=True)
    yesterday = time.time() - 86_400
    os.utime(stale, (yesterday, yesterday))
    with connect(scratch) as store:
        assert store.names() == []
        Collection.create(store, "docs", HashEncoder(16))
    assert not stale.exists()
    assert fresh.exists(), "it may be another creator at work"


def test_a_creator_that_ends_while_another_begins_does_not_disturb_it(scratch: Path) -> None:
    # A name that is listed and cannot be looked at is what the other one leaves in between.
    (scratch / ".other.1.part").symlink_to(scratch / "renamed by now")
    with connect(scratch) as store:
        Collection.create(store, "docs", HashEncoder(16))
        assert store.names() == ["docs"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read"),
        (lambda text: text.replace('"format": 1', '"format": 99'), "format 99.*upgrade decant"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "'sparse' is missing"),
        (lambda text: text.replace('"pooling": "mean"', '"pooling": "last"'), "are damaged"),
        (lambda text: text.replace('"pooling": "mean"', '"pooling": "odd"'), "upgrade decant"),
        (lambda text: text.replace('"dim": 16,\n  "mark"', '"mark"'), "'dim' is missing"),
        (lambda text: "[]", "cannot be read"),
    ],
)
def test_a_damaged_card_is_refused_with_what_to_do(filled: Path, damage: object, said: str) -> None:
    card = filled / "docs" / "collection.json"
    text = card.read_text()
    card.write_text(damage(text))  # type: ignore[operator]
    assert card.read_text() != text
    with connect(filled) as store, pytest.raises(StoreError, match=said):
        Collection.open(store, "docs", HashEncoder(16))


def test_a_folder_can_be_moved_with_all_it_holds(filled: Path) -> None:
    moved = filled.rename(filled.with_name("moved"))
    with connect(str(moved)) as store:
        assert Collection.open(store, "docs", HashEncoder(16)).search("one")[0].id == "1"


def test_fields_of_points_that_are_not_there_are_told_and_the_others_are_set(edge: Store) -> None:
    encoder = HashEncoder(16)
    docs = Collection.create(edge, "docs", encoder)
    docs.add([Record(id=f"{number}", text=f"text {number}") for number in range(300)])
    wanted = [record_id(f"{number}") for number in range(-2, 302)]
    points = [Point(id=identity, payload={"metadata": {"n": 1}}) for identity in wanted]
    assert edge.set_fields("docs", points) == [*wanted[:2], *wanted[-2:]]
    assert docs.count(Equals("n", 1)) == 300
    assert docs.count() == 300


def test_importing_and_searching_do_not_load_the_client() -> None:
    code = """
import sys, tempfile
from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, Equals, Record, connect
with tempfile.TemporaryDirectory() as folder, connect(folder) as store:
    docs = Collection.create(store, "docs", HashEncoder(4))
    docs.add([Record(text="one", metadata={"year": 1})])
    assert len(docs.search("one", where=Equals("year", 1))) == 1
print([name for name in ("qdrant_client", "httpx", "torch", "onnxruntime") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_optimizing_builds_an_index_that_finds_the_same(scratch: Path) -> None:
    encoder = HashEncoder(64)
    with connect(scratch) as store:
        collection = Collection.create(store, "docs", encoder)
        collection.index(
            Document(source=f"{n}", text=f"word{n % 97} word{n % 89} word{n}") for n in range(3_000)
        )
        query = encoder.encode(["word42 word17"], role=Role.QUERY).dense[0]
        before = collection.search_vector(query, limit=5)
        collection.optimize()
        after = collection.search_vector(query, limit=5)
        assert {hit.id for hit in after} == {hit.id for hit in before}
        assert collection.count() == 3_000


def test_two_engines_hold_the_same_points(edge: Store) -> None:
    client = QdrantClient(":memory:")
    documents = [Document(source=f"{n}", text=f"text number {n}", root="r") for n in range(20)]
    with connect(client) as local:
        found = []
        for store in (edge, local):
            collection = Collection.create(store, "docs", HashEncoder(16))
            collection.index(documents)
            found.append([(hit.id, hit.text) for hit in collection.search("number 7", limit=3)])
        assert found[0] == found[1]
    client.close()
