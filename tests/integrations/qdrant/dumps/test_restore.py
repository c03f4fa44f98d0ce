"""Restores: damaged files are refused, interrupted ones open for nobody and are completed."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from decant.embedders import StoreError
from decant.integrations.qdrant import (
    Collection,
    DumpError,
    Fusion,
    Record,
    SearchDefaults,
    SearchMode,
    Store,
    StoreInputError,
    dump,
    restore,
)
from dump_scene import (
    ENCODER,
    assert_same_points,
    held_points,
    made,
)
from stores import Between


def test_a_cut_file_is_refused_before_anything_is_made(edge: Store, file: Path) -> None:
    made(edge)
    dump(edge, "docs", file)
    whole = file.read_bytes()
    draw = random.Random(0)
    for length in (0, 1, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(20))):
        file.write_bytes(whole[:length])
        with pytest.raises(DumpError):
            restore(file, edge, "copy")
    assert edge.names() == ["docs"]


def test_a_damaged_file_is_refused_or_harmless(edge: Store, file: Path) -> None:
    made(edge)
    dump(edge, "docs", file)
    whole, wanted = file.read_bytes(), held_points(edge, "docs")
    draw, refused = random.Random(1), 0
    for _ in range(60):
        place = draw.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        file.write_bytes(bytes(damaged))
        try:
            restore(file, edge, "copy")
        except DumpError:
            refused += 1
            assert edge.names() == ["docs"]
        else:  # a date, or another field of the archive that means nothing
            assert_same_points(held_points(edge, "copy"), wanted)
            edge.drop("copy")
    assert refused > 50


def test_members_that_were_changed_added_or_taken_away_are_refused(edge: Store, file: Path) -> None:
    made(edge)
    dump(edge, "docs", file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def refused(changed: dict[str, bytes], said: str) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in changed.items():
                archive.writestr(name, data)
        with pytest.raises(DumpError, match=said):
            restore(file, edge, "copy")
        assert edge.names() == ["docs"]

    header = json.loads(members["dump.json"])
    newer = json.dumps({**header, "format": 3, "unknown": True}).encode()
    refused({**members, "dump.json": newer}, "upgrade decant")
    refused({**members, "dump.json": b"{}"}, "has no format")
    refused({**members, "dump.json": json.dumps({**header, "blocks": 10**15}).encode()}, "damaged")
    refused({**members, "points-000001.jsonl": b""}, "points-000001.jsonl is not what was written")
    refused({**members, "more.txt": b""}, "does not hold the members")
    refused({"a.txt": b""}, "holds no dump.json, so it is no dump")
    gone = {name: data for name, data in members.items() if name != "points-000001.npz"}
    refused(gone, "does not hold the members")
    file.write_text("no archive")
    with pytest.raises(DumpError, match="is no dump"):
        restore(file, edge, "copy")
    with pytest.raises(DumpError, match="cannot be read"):
        restore(file.with_name("absent"), edge, "copy")


class Cut(Exception):
    """The process ends here."""


def test_an_interrupted_restore_opens_for_nobody_and_is_completed(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decant.integrations.qdrant.dumps.dump._BLOCK_POINTS", 10)
    docs = made(store)
    docs.set_search_defaults(SearchDefaults(mode=SearchMode.HYBRID, fusion=Fusion()))
    wanted = held_points(store, "docs")
    dump(store, "docs", file)
    calls: list[int] = []

    def cut(points: Sequence[Any]) -> None:
        calls.append(len(points))
        if len(calls) == 4:
            raise Cut

    cutting = cast("Store", Between(store, "upsert", cut))
    with pytest.raises(Cut):
        restore(file, cutting, "copy")
    for use in (
        lambda: Collection.open(store, "copy", ENCODER),
        lambda: Collection.open_or_create(store, "copy", ENCODER),
        lambda: store.find("copy"),
        lambda: dump(store, "copy", file.with_name("other.dump")),
    ):
        with pytest.raises(StoreError, match="is being restored from a dump"):
            use()
    assert store.names() == ["copy", "docs"]
    Collection.open(store, "docs", ENCODER).add([Record(text="one more")])
    dump(store, "docs", file.with_name("later.dump"))
    with pytest.raises(StoreInputError, match="from another dump"):
        restore(file.with_name("later.dump"), store, "copy")
    report = restore(file, store, "copy")
    assert report.written == len(wanted) - sum(calls[:3])
    assert_same_points(held_points(store, "copy"), wanted)
    assert Collection.open(store, "copy", ENCODER).search_defaults == SearchDefaults(
        mode=SearchMode.HYBRID, fusion=Fusion()
    )


def test_an_interrupted_restore_can_be_dropped(store: Store, file: Path) -> None:
    made(store)
    dump(store, "docs", file)

    def cut(_points: Sequence[Any]) -> None:
        raise Cut

    with pytest.raises(Cut):
        restore(file, cast("Store", Between(store, "upsert", cut)), "copy")
    store.drop("copy")
    assert store.names() == ["docs"]
    assert restore(file, store, "copy").points == len(held_points(store, "docs"))
