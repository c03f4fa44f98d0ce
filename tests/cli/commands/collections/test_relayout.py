"""``decant relayout``, and the options of ``create`` and ``index`` that make a layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, Record, Storage, connect
from qdrant_double import QdrantDouble


@pytest.fixture
def filled(decant: Decant) -> Decant:
    """Return the command, in a folder whose ``./index`` holds a collection."""
    with connect("./index") as store:
        docs = Collection.create(store, "docs", HashEncoder(8))
        docs.add([Record(id="r", text="four")])
    return decant


def test_a_collection_is_stored_in_another_way_and_says_so(filled: Decant) -> None:
    ran = filled("relayout", "docs", "--storage", "turbo4")
    assert "full, original vectors in memory" in ran.err
    assert ran.out.startswith("collection 'docs' in ")
    assert ran.out.endswith("index is stored as turbo4, original vectors on disk\n")
    assert "turbo4, original vectors on disk" in filled("list").out
    shown = filled("relayout", "docs", "--originals", "memory", "--json").json
    before, after = shown["before"], shown["layout"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert after["storage"] == "turbo4"
    assert (before["originals"], after["originals"]) == ("disk", "memory")
    with connect("./index") as store:
        found = Collection.open(store, "docs", HashEncoder(8)).search("four", limit=1)
    assert [hit.id for hit in found] == ["r"]


def test_unknown_names_and_settings_of_servers_are_refused(filled: Decant) -> None:
    ran = filled("relayout", "docs", "--storage", "int4")
    assert ran.code == Exit.INPUT
    assert "turbo4" in ran.err
    ran = filled("relayout", "docs", "--strict")
    assert ran.code == Exit.INPUT
    assert "has no strict" in ran.err


def test_a_prefix_is_made_by_index_and_create_if_it_is_allowed(
    decant: Decant, tiny_bundle: Path
) -> None:
    Path("notes").mkdir()
    Path("notes/a.md").write_text("four", encoding="utf-8")
    given = ("notes", "--prefix", 4, "--provider", "cpu")
    ran = decant("index", tiny_bundle, *given)
    assert ran.code == Exit.INPUT
    assert "--allow-any-dim" in ran.err
    decant("index", tiny_bundle, *given, "--allow-any-dim")
    assert "searched by a prefix of 4 values" in decant("list").out
    options = ("--model", tiny_bundle, "--prefix", 2, "--allow-any-dim", "--provider", "cpu")
    decant("create", "./index", "made", *options)
    with connect("./index") as store:
        assert store.layout("made").prefix == 2
        assert len(store.names()) == 2


def test_create_and_index_make_the_layout_that_is_asked_for(
    decant: Decant, tiny_bundle: Path
) -> None:
    model = ("--model", tiny_bundle, "--provider", "cpu")
    with QdrantDouble(version="1.20.0") as double:
        options = ("--storage", "turbo1", "--shards", 2, "--replicas", 3, "--strict")
        decant("create", double.url, "notes", *model, *options)
        (made,) = double.requests("PUT", "/collections/notes")
    assert (made.body["shard_number"], made.body["replication_factor"]) == (2, 3)
    assert made.body["strict_mode_config"]["unindexed_filtering_retrieve"] is False
    assert made.body["vectors"]["dense"]["quantization_config"]["turbo"]["bits"] == "bits1"
    Path("a.md").write_text("one", encoding="utf-8")
    decant("index", tiny_bundle, "a.md", "--provider", "cpu", "--storage", "int8")
    with connect("./index") as store:
        assert store.layout("docs").storage is Storage.INT8
    ran = decant("index", tiny_bundle, "a.md", "--provider", "cpu", "--storage", "full")
    assert ran.code != Exit.OK
    assert "decant relayout" in ran.err
