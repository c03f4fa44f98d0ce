"""Damaged and half-lost collections: an error that says what to do, or a right answer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from decant.embedders import HashEncoder, Role, StoreError
from decant.integrations.qdrant import (
    Collection,
    Document,
    Equals,
    Point,
    Record,
    connect,
)
from decant.integrations.qdrant.edge.errors import EngineErrors
from decant.integrations.qdrant.edge.private_copy import copy_sparsely
from decant.integrations.qdrant.edge.shard_lock import shard_lock
from decant.integrations.qdrant.stores.point_ids import record_id
from decant.integrations.qdrant.stores.protocol import Json, Payload

ENCODER = HashEncoder(16)
SHARD = Path("docs", "shard")


def filled_at(folder: Path) -> Path:
    """Make a collection of documents and records, which nobody has open."""
    with connect(folder) as store:
        docs = Collection.create(store, "docs", ENCODER)
        docs.index(
            Document(source=f"s{number}", text=f"text {number} word{number % 7}", metadata={"n": 1})
            for number in range(9)
        )
        docs.add([Record(id="r", text="a record")])
    return folder


@pytest.fixture
def filled(scratch: Path) -> Path:
    return filled_at(scratch / "index")


def copied(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target, copy_function=copy_sparsely)
    return target


# What is left of a collection


@pytest.mark.parametrize("lost", ["", "segments"])
def test_a_collection_whose_points_are_lost_says_so_and_can_be_dropped(
    filled: Path, lost: str
) -> None:
    shutil.rmtree(filled / SHARD / lost)
    with connect(filled) as store:
        assert store.names() == ["docs"]
        for opener in (Collection.open, Collection.open_or_create):
            with pytest.raises(StoreError, match=r"points of .*are lost.*store\.drop\('docs'\)"):
                opener(store, "docs", ENCODER)
        with pytest.raises(StoreError, match=r"already exists.*store\.drop"):
            Collection.create(store, "docs", ENCODER)
        store.drop("docs")
        assert store.names() == []
        assert Collection.create(store, "docs", ENCODER).count() == 0


def test_a_collection_whose_card_is_lost_says_so_and_can_be_dropped(filled: Path) -> None:
    card = (filled / "docs" / "collection.json").rename(filled.parent / "card")
    with connect(filled) as store:
        assert store.names() == []
        for act in (Collection.open, Collection.create, Collection.open_or_create):
            with pytest.raises(StoreError, match=r"metadata of .*are lost.*store\.drop\('docs'\)"):
                act(store, "docs", ENCODER)
        # What comes back is found again.
        shutil.copy(card, filled / "docs" / "collection.json")
        assert Collection.open(store, "docs", ENCODER).count() == 10
        (filled / "docs" / "collection.json").unlink()
        store.drop("docs")
        assert list(filled.iterdir()) == []


def test_a_collection_with_a_damaged_card_can_be_dropped(filled: Path) -> None:
    (filled / "docs" / "collection.json").write_text("{")
    with connect(filled) as store:
        with pytest.raises(StoreError, match="cannot be read"):
            Collection.open(store, "docs", ENCODER)
        store.drop("docs")
        assert store.names() == []


def break_log(folder: Path) -> None:
    """Make the write-ahead log unreadable for the engine."""
    log = folder / SHARD / "wal" / "open-1"
    log.write_bytes(bytes(64) + log.read_bytes()[64:])


def test_a_collection_that_cannot_be_opened_can_be_dropped(filled: Path) -> None:
    break_log(filled)
    with connect(filled) as store:
        with pytest.raises(StoreError, match=r"WAL.*restore them.*store\.drop\('docs'\)"):
            Collection.open(store, "docs", ENCODER)
        store.drop("docs")
        assert store.names() == []
        assert list(filled.iterdir()) == []


def test_a_damaged_collection_that_another_process_has_open_is_not_dropped(filled: Path) -> None:
    break_log(filled)
    with connect(filled) as store:
        # The lock goes with the open file, so this stands for another process.
        with shard_lock(filled / SHARD, shared=False) as is_free:
            assert is_free
            with pytest.raises(StoreError, match="is locked, because another process"):
                store.drop("docs")
        assert store.names() == ["docs"]
        store.drop("docs")


# What the engine cannot read


def deep(levels: int) -> Json:
    """Return metadata nested deeper than the engine reads."""
    made: Json = {"leaf": 1}
    for _ in range(levels):
        made = {"k": made}
    return made


def test_a_point_that_makes_the_engine_panic_is_an_error_and_the_rest_can_be_used(
    filled: Path,
) -> None:
    vector = ENCODER.encode(["deep"], role=Role.PASSAGE).dense[0]
    payload: Payload = {"kind": "record", "id": "deep", "metadata": deep(200)}
    point = Point(id=record_id("deep"), payload=payload, dense=vector)
    with connect(filled) as store:
        docs = Collection.open(store, "docs", ENCODER)
        store.upsert("docs", [point])
        unindexed = Equals("n", 1)
        for act in (
            lambda: docs.count(unindexed),
            lambda: docs.search("text", where=unindexed),
            lambda: docs.delete_where(unindexed),
            lambda: docs.get(["deep"]),
            lambda: docs.search("deep"),
        ):
            with pytest.raises(StoreError, match="recursion limit exceeded"):
                act()
        # The engine is not harmed by its panics: other points can be read, written, deleted.
        assert [passage.text for passage in docs.get(["r"])] == ["a record"]
        assert docs.delete(["r"]) == 1
        docs.add([Record(id="new", text="new")])
        assert docs.get(["new"])[0].text == "new"
        assert docs.count() == 11


def test_a_log_that_the_engine_cannot_read_again_is_an_error_and_can_be_dropped(
    filled: Path,
) -> None:
    payload: Payload = {"kind": "record", "metadata": deep(200)}
    with connect(filled) as store:
        store.upsert("docs", [Point(id=record_id("deep"), payload=payload)])
    with connect(filled) as store:
        with pytest.raises(StoreError, match=r"RecursionLimitExceeded.*store\.drop"):
            Collection.open(store, "docs", ENCODER)
        store.drop("docs")
        assert store.names() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_meant_to_end_the_program_is_not_taken_for_a_panic(
    error: type[BaseException],
) -> None:
    with pytest.raises(error), EngineErrors("searching", "here"):
        raise error


# One file after another


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def halved(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zeroed(path: Path) -> None:
    size = path.stat().st_size
    os.truncate(path, 0)
    os.truncate(path, size)


def deleted(path: Path) -> None:
    path.unlink()


DAMAGES = (emptied, halved, zeroed, deleted)


def use(folder: Path) -> list[str]:
    """Do all that one does with a collection, and return what ends in anything but a StoreError."""
    raw: list[str] = []

    def tried(act: Callable[[], object]) -> object:
        try:
            return act()
        except StoreError:
            return None
        except BaseException as error:  # noqa: BLE001 (a panic is no Exception)
            raw.append(repr(error))
        return None

    store = connect(folder)
    docs = tried(lambda: Collection.open(store, "docs", ENCODER))
    if isinstance(docs, Collection):
        for act in (
            docs.count,
            lambda: docs.search("text word3", limit=50),
            lambda: docs.search("text", where=Equals("n", 1)),
            lambda: list(docs.each(with_vectors=True)),
            lambda: docs.get(["r"]),
            lambda: docs.add([Record(id="x", text="new")]),
            lambda: docs.index([Document(source="s1", text="other text")]),
            lambda: docs.delete_source("s2"),
            docs.optimize,
            lambda: store.flush("docs"),
        ):
            tried(act)
    tried(store.close)
    with connect(folder) as again:
        tried(lambda: again.drop("docs"))
        if again.names():
            raw.append("it was not dropped")
    return raw


def files_of(folder: Path) -> list[Path]:
    """Return the files below a folder, and of files of the same kind only the first."""
    kinds: dict[tuple[str, ...], Path] = {}
    for path in sorted(folder.rglob("*")):
        # The folder of an indexed field is a digest, the field and a kind: "1cjs…-source-map".
        parts = (part.rsplit("-", 1)[-1] for part in path.relative_to(folder).parts)
        if path.is_file():
            kinds.setdefault(tuple(parts), path.relative_to(folder))
    return list(kinds.values())


def uses_of_damaged(
    filled: Path, only: Callable[[Path], bool]
) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each file, each damage, and what raw errors the use of a copy ended in."""
    for path in filter(only, files_of(filled / SHARD)):
        for damage in DAMAGES:
            copy = copied(filled, filled.with_name("copy"))
            damage(copy / SHARD / path)
            yield str(path), damage.__name__, use(copy)
            shutil.rmtree(copy, ignore_errors=True)


def raw_errors(filled: Path, only: Callable[[Path], bool]) -> list[str]:
    found = list(uses_of_damaged(filled, only))
    assert found, "there are such files"
    return [f"{path} {damage}: {raw}" for path, damage, raw in found if raw]


def test_status_and_flags_that_are_damaged_end_in_errors(filled: Path) -> None:
    damaged = ("status.dat", "flags_a.dat")
    assert raw_errors(filled, lambda path: path.name in damaged and "deleted" in path.parts) == []


@pytest.mark.slow
def test_any_file_of_the_engine_that_is_damaged_ends_in_errors(filled: Path) -> None:
    assert raw_errors(filled, lambda path: True) == []
