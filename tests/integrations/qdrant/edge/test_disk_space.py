"""A disk that is nearly full: refused before anything is written, and all can be gone on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from decant.embedders import HashEncoder, StoreError
from decant.integrations.qdrant import Collection, Document, PayloadIndex, Record, connect
from decant.integrations.qdrant.edge import disk_space
from decant.integrations.qdrant.edge.disk_space import MARGIN, check_room, free_bytes
from decant.integrations.qdrant.stores.collection_settings import FieldType

ENCODER = HashEncoder(16)


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what makes the disk look as if only so many bytes were free."""

    def leave(count: int) -> None:
        monkeypatch.setattr(disk_space, "free_bytes", lambda folder: count)

    return leave


@pytest.fixture
def filled(scratch: Path) -> Path:
    """Return a folder with a collection of one record, which nobody has open."""
    with connect(scratch / "index") as store:
        Collection.create(store, "docs", ENCODER).add([Record(id="1", text="one")])
    return scratch / "index"


def test_what_is_free_is_asked_of_the_disk_that_a_folder_will_be_on(scratch: Path) -> None:
    free = free_bytes(scratch / "not" / "there" / "yet")
    assert abs(free - free_bytes(scratch)) < 2**30
    check_room(scratch / "not", "writing")
    with pytest.raises(StoreError, match=r"writing was not begun.*MiB free, and .* are needed"):
        check_room(scratch, "writing", needed=2**60)


def test_writes_are_refused_and_searches_go_on_while_the_disk_is_full(
    filled: Path, fill: Callable[[int], None]
) -> None:
    with connect(filled) as store:
        docs = Collection.open(store, "docs", ENCODER)
        fill(2**20)
        for act in (
            lambda: docs.add([Record(text="two")]),
            lambda: docs.index([Document(source="a", text="two")]),
            lambda: docs.delete(["1"]),
            lambda: docs.add_index(PayloadIndex(key="n", type=FieldType.INTEGER)),
            docs.optimize,
            lambda: Collection.create(store, "more", ENCODER),
        ):
            with pytest.raises(StoreError, match=r"was not begun.*1\.0 MiB free.*Free some space"):
                act()
        assert [hit.text for hit in docs.search("one")] == ["one"]
        assert docs.count() == 1
        assert docs.get(["1"])[0].text == "one"
        store.flush("docs")
        assert [path.name for path in filled.iterdir()] == ["docs"]
        fill(2 * MARGIN)
        docs.add([Record(id="2", text="two")])
        assert docs.count() == 2


def test_opening_is_refused_while_the_disk_is_full_and_dropping_is_not(
    filled: Path, fill: Callable[[int], None]
) -> None:
    with connect(filled) as store:
        fill(MARGIN - 1)
        with pytest.raises(StoreError, match=r"opening the collection 'docs' was not begun"):
            Collection.open(store, "docs", ENCODER)
        fill(MARGIN)
        assert Collection.open(store, "docs", ENCODER).count() == 1
        fill(0)
        store.drop("docs")
        assert store.names() == []


def test_a_disk_that_fills_up_in_an_indexing_run_ends_it_cleanly(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [Document(source=f"{number}", text=f"text {number}") for number in range(300)]
    left = iter([MARGIN] * 4)
    with connect(filled) as store:
        docs = Collection.open(store, "docs", ENCODER)
        with monkeypatch.context() as patch:
            patch.setattr(disk_space, "free_bytes", lambda folder: next(left, 0))
            with pytest.raises(StoreError, match=r"0\.0 MiB free.*was stored before is safe"):
                docs.index(documents)
        assert docs.get(["1"])[0].text == "one"
        docs.index(documents)
        assert docs.count() == 301


def test_optimizing_needs_as_much_room_as_the_collection_takes(
    filled: Path, fill: Callable[[int], None]
) -> None:
    taken = sum(512 * path.stat().st_blocks for path in (filled / "docs" / "shard").rglob("*"))
    with connect(filled) as store:
        docs = Collection.open(store, "docs", ENCODER)
        fill(MARGIN + taken // 2)
        with pytest.raises(StoreError, match="optimizing 'docs' was not begun"):
            docs.optimize()
        fill(MARGIN + 2 * taken + 2**26)
        docs.optimize()
        assert docs.count() == 1
