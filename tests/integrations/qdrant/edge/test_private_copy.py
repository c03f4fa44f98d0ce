"""A collection that may not be written to is searched in a private copy, and stays as it is."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import Collection, Equals, Record, connect
from decant.integrations.qdrant.edge import shards
from decant.integrations.qdrant.edge.private_copy import (
    allocated_bytes,
    copy_sparsely,
    is_writable,
)
from decant.integrations.qdrant.edge.shard_lock import shard_lock

ENCODER = HashEncoder(16)


@pytest.fixture
def copies(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that private copies are made in, which is empty."""
    folder = scratch / "copies"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def frozen(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with a collection of one record that may not be written to."""
    folder = scratch / "index"
    with connect(folder) as store:
        record = Record(id="1", text="one", metadata={"n": 1})
        Collection.create(store, "docs", ENCODER).add([record])
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    if os.access(folder, os.W_OK):  # the tests run as root, who may write everywhere
        monkeypatch.setattr(shards, "is_writable", lambda shard: folder not in shard.parents)
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return what would tell that somebody has written to a folder."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in folder.rglob("*"):
        content = sha256(path.read_bytes()).digest() if path.is_file() else b""
        found[str(path)] = (path.stat().st_mtime_ns, content)
    return found


def test_a_collection_that_may_not_be_written_to_can_be_searched(
    frozen: Path, copies: Path
) -> None:
    before = state(frozen)
    with connect(frozen) as store:
        docs = Collection.open(store, "docs", ENCODER)
        assert [hit.text for hit in docs.search("one", where=Equals("n", 1))] == ["one"]
        assert docs.count() == 1
        assert docs.get(["1"])[0].metadata == {"n": 1}
        assert len(list(copies.iterdir())) == 1
    assert list(copies.iterdir()) == [], "the copy is deleted when it is closed"
    assert state(frozen) == before


def test_a_copy_is_not_written_to(frozen: Path, copies: Path) -> None:
    with connect(frozen) as store:
        docs = Collection.open(store, "docs", ENCODER)
        for act in (
            lambda: docs.add([Record(text="two")]),
            lambda: docs.delete(["1"]),
            docs.clear,
            docs.optimize,
        ):
            with pytest.raises(StoreError, match=r"is read-only.*write permission"):
                act()
        assert docs.count() == 1
        assert len(list(copies.iterdir())) == 1


def test_stores_of_one_process_share_a_copy_and_the_last_deletes_it(
    frozen: Path, copies: Path
) -> None:
    with connect(frozen) as first:
        with connect(frozen) as second:
            one = Collection.open(first, "docs", ENCODER)
            two = Collection.open(second, "docs", ENCODER)
            assert one.count() == two.count() == 1
            assert len(list(copies.iterdir())) == 1
        assert one.count() == 1
    assert list(copies.iterdir()) == []


def test_what_another_process_has_open_is_not_copied(frozen: Path, copies: Path) -> None:
    shard = frozen / "docs" / "shard"
    # The lock goes with the open file, so these stand for other processes.
    with (
        shard_lock(shard, shared=False),
        connect(frozen) as store,
        pytest.raises(StoreError, match="is locked, because another process has it open"),
    ):
        Collection.open(store, "docs", ENCODER)
    with shard_lock(shard, shared=True), connect(frozen) as store:
        assert Collection.open(store, "docs", ENCODER).count() == 1
    assert list(copies.iterdir()) == []


def test_a_copy_that_cannot_be_opened_is_deleted(frozen: Path, copies: Path) -> None:
    log = frozen / "docs" / "shard" / "wal" / "open-1"
    log.chmod(0o644)
    log.write_bytes(bytes(64))
    log.chmod(0o444)
    with connect(frozen) as store, pytest.raises(StoreError, match="opening the collection"):
        Collection.open(store, "docs", ENCODER)
    assert list(copies.iterdir()) == []


def test_files_are_copied_to_the_byte_and_holes_stay_holes(tmp_path: Path) -> None:
    for name, content in {
        "empty": b"",
        "short": b"x",
        "zeros": bytes(300_000),
        "mixed": bytes(200_000) + b"x" * 70_000 + bytes(200_001),
    }.items():
        source, target = tmp_path / name, tmp_path / f"{name}.copy"
        source.write_bytes(content)
        copy_sparsely(str(source), str(target))
        assert target.read_bytes() == content
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.write(b"x")
        file.truncate(2**25)
    copy_sparsely(str(sparse), str(tmp_path / "sparse.copy"))
    assert (tmp_path / "sparse.copy").stat().st_size == 2**25
    assert (tmp_path / "sparse.copy").stat().st_blocks <= 256


def test_a_medium_that_is_mounted_read_only_is_found_out(scratch: Path, copies: Path) -> None:
    index, mounted = scratch / "index", scratch / "mounted"
    with connect(index) as store:
        Collection.create(store, "docs", ENCODER).add([Record(id="1", text="one")])
    mounted.mkdir()
    mount = ["mount", "-o", "bind,ro", str(index), str(mounted)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user or system may not mount")
    try:
        assert not is_writable(mounted / "docs" / "shard")
        with connect(mounted) as store:
            assert Collection.open(store, "docs", ENCODER).search("one")[0].id == "1"
            with pytest.raises(StoreError, match="Read-only file system"):
                Collection.create(store, "more", ENCODER)
            with pytest.raises(StoreError, match="Read-only file system; give write") as refusal:
                store.drop("docs")
            assert ".part" not in str(refusal.value)
            assert Collection.open(store, "docs", ENCODER).count() == 1
    finally:
        subprocess.run(["umount", str(mounted)], check=True)
    assert list(copies.iterdir()) == []
    assert allocated_bytes(index) > 0
