"""Stores of one process share the shards that are open, whatever path leads there."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import Collection, Field, FieldIn, Record, connect
from decant.integrations.qdrant.edge.shard_lock import shard_lock

ENCODER = HashEncoder(16)


@pytest.fixture
def filled(scratch: Path) -> Path:
    """Return a folder with a collection of one record, which nobody has open."""
    with connect(scratch / "index") as store:
        Collection.create(store, "docs", ENCODER).add([Record(id="1", text="one")])
    return scratch / "index"


def is_locked(folder: Path) -> bool:
    """Return whether the engine of some process holds the lock of the collection ``docs``."""
    with shard_lock(folder / "docs" / "shard", shared=False) as is_free:
        return not is_free


def test_a_notebook_cell_that_runs_twice_has_the_same_collection_twice(scratch: Path) -> None:
    first = Collection.open_or_create(connect(scratch), "docs", ENCODER)
    first.add([Record(id="1", text="one")])
    second = Collection.open_or_create(connect(scratch), "docs", ENCODER)
    second.add([Record(id="2", text="two")])
    assert first.count() == second.count() == 2
    assert {hit.id for hit in first.search("one two")} == {"1", "2"}


def test_the_last_store_closes_the_shard(filled: Path) -> None:
    first, second = connect(filled), connect(filled)
    Collection.open(first, "docs", ENCODER)
    docs = Collection.open(second, "docs", ENCODER)
    first.close()
    first.close()
    with pytest.raises(StoreError, match="is closed; connect again"):
        first.count("docs", FieldIn(Field.KIND, ["record"]))
    assert is_locked(filled)
    assert docs.count() == 1
    second.close()
    assert not is_locked(filled)


def test_a_store_that_is_let_go_without_being_closed_gives_its_shards_back(filled: Path) -> None:
    Collection.open(connect(filled), "docs", ENCODER).add([Record(id="2", text="two")])
    gc.collect()
    assert not is_locked(filled)
    with connect(filled) as store:
        assert Collection.open(store, "docs", ENCODER).count() == 2


@pytest.mark.parametrize(
    "path",
    [
        lambda folder: folder,
        lambda folder: folder.parent / "other" / ".." / folder.name,
        lambda folder: Path(folder.name),
        lambda folder: folder.parent / "link",
    ],
)
def test_every_path_to_a_folder_leads_to_the_same_shard(
    filled: Path, monkeypatch: pytest.MonkeyPatch, path: Callable[[Path], Path]
) -> None:
    (filled.parent / "other").mkdir()
    (filled.parent / "link").symlink_to(filled)
    monkeypatch.chdir(filled.parent)
    with connect(filled) as first, connect(path(filled)) as second:
        one, two = (Collection.open(store, "docs", ENCODER) for store in (first, second))
        two.add([Record(id="2", text="two")])
        assert one.count() == 2


def test_a_relative_folder_stays_the_one_that_it_was(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(filled.parent)
    with connect(filled.name) as store:
        monkeypatch.chdir("/")
        assert store.place == filled.name
        assert store.names() == ["docs"]
        assert Collection.open(store, "docs", ENCODER).count() == 1


def test_a_collection_that_another_store_of_the_process_drops_says_so(filled: Path) -> None:
    with connect(filled) as first, connect(filled) as second:
        docs = Collection.open(first, "docs", ENCODER)
        second.drop("docs")
        for act in (docs.count, lambda: docs.search("one"), lambda: docs.add([Record(text="x")])):
            with pytest.raises(StoreError, match="was dropped by another store of this process"):
                act()
        with pytest.raises(StoreError, match="there is no collection 'docs'"):
            Collection.open(first, "docs", ENCODER)
        Collection.create(second, "docs", ENCODER).add([Record(id="new", text="new")])
        assert [hit.id for hit in Collection.open(first, "docs", ENCODER).search("new")] == ["new"]


def test_a_folder_deleted_by_hand_and_made_anew_is_not_mistaken_for_the_old_one(
    filled: Path,
) -> None:
    old = connect(filled)
    assert Collection.open(old, "docs", ENCODER).count() == 1
    shutil.rmtree(filled)
    with connect(filled) as store:
        Collection.open_or_create(store, "docs", ENCODER).add([Record(id="2", text="two")])
    # The same store object, too, finds what is there now.
    assert [passage.id for passage in Collection.open(old, "docs", ENCODER).each()] == ["2"]
    old.close()
    with connect(filled) as store:
        assert [passage.id for passage in Collection.open(store, "docs", ENCODER).each()] == ["2"]


def test_a_folder_moved_while_it_is_open_is_refused_at_its_new_place(filled: Path) -> None:
    with connect(filled) as store:
        Collection.open(store, "docs", ENCODER)
        moved = filled.rename(filled.with_name("moved"))
        with connect(moved) as other, pytest.raises(StoreError, match="was moved to"):
            Collection.open(other, "docs", ENCODER)
    with connect(moved) as store:
        assert Collection.open(store, "docs", ENCODER).count() == 1


def test_threads_that_open_and_close_at_once_share_one_shard(filled: Path) -> None:
    def use(number: int) -> str:
        with connect(filled) as store:
            docs = Collection.open(store, "docs", ENCODER)
            (identity,) = docs.add([Record(id=f"t{number}", text=f"text {number}")])
            return identity

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(40))) == [f"t{number}" for number in range(40)]
    assert not is_locked(filled)
    with connect(filled) as store:
        assert Collection.open(store, "docs", ENCODER).count() == 41


def test_a_shard_that_cannot_be_flushed_is_closed_and_so_are_the_others(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = connect(filled)
    Collection.open(store, "docs", ENCODER)
    Collection.create(store, "more", ENCODER)
    Collection.open(store, "more", ENCODER)

    class NoRoom:
        def __init__(self, engine: object) -> None:
            self._engine = engine

        def flush(self) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            self._engine.close()  # type: ignore[attr-defined]

    for shard in store._shards.values():  # type: ignore[attr-defined]
        shard.engine = NoRoom(shard.engine)
    with pytest.raises(StoreError, match=r"closing '.*No space left on device"):
        store.close()
    assert not is_locked(filled)
    with connect(filled) as again:
        assert Collection.open(again, "docs", ENCODER).count() == 1
        assert Collection.open(again, "more", ENCODER).count() == 0


def test_an_unclosed_store_is_closed_when_the_interpreter_ends(filled: Path) -> None:
    code = """
import sys
from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, Record, connect
docs = Collection.open(connect(sys.argv[1]), "docs", HashEncoder(16))
docs.add([Record(id="2", text="two")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(filled)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with connect(filled) as store:
        assert Collection.open(store, "docs", ENCODER).count() == 2
