"""``decant dump``, ``restore`` and ``snapshot``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import HashEncoder
from decant.integrations.qdrant import Collection, CollectionSettings, Record, Tenants, connect
from qdrant_double import QdrantDouble


@pytest.fixture
def filled(decant: Decant) -> Decant:
    """Return the command, in a folder whose ``./index`` holds a collection."""
    with connect("./index") as store:
        docs = Collection.create(store, "docs", HashEncoder(8))
        docs.add([Record(id="r", text="four"), Record(id="s", text="five")])
    return decant


def test_a_collection_goes_through_a_file_to_a_server(filled: Decant) -> None:
    ran = filled("dump", "./index", "docs", "docs.dump")
    assert ran.code == 0
    assert "dumped 0 documents and 2 passages of 'docs' in " in ran.out
    assert hashlib.sha256(Path("docs.dump").read_bytes()).hexdigest() in ran.out
    with QdrantDouble() as double:
        ran = filled("restore", "docs.dump", double.url, "copy")
        assert ran.out.endswith("holds 0 documents and 2 passages of docs.dump\n")
        with connect(double.url) as store:
            found = Collection.open(store, "copy", HashEncoder(8)).search("four", limit=1)
    assert [hit.id for hit in found] == ["r"]


def test_results_are_json_if_asked_for(filled: Decant) -> None:
    dumped = filled("dump", "./index", "docs", "docs.dump", "--json").json
    assert isinstance(dumped, dict)
    report = dumped["report"]
    assert isinstance(report, dict)
    assert (report["file"], report["passages"]) == ("docs.dump", 2)
    restored = filled("restore", "docs.dump", "./index", "copy", "--storage", "int8", "--json").json
    assert isinstance(restored, dict)
    assert restored["collection"] == "copy"
    assert "int8" in filled("list").out


def test_a_tenant_goes_alone_into_a_collection_or_another_tenant(decant: Decant) -> None:
    settings = CollectionSettings(tenants=Tenants())
    with connect("./index") as store:
        docs = Collection.create(store, "docs", HashEncoder(8), settings=settings)
        for tenant in ("acme", "zeta"):
            docs.tenant(tenant).add([Record(id="r", text=f"four {tenant}")])
    ran = decant("dump", "./index", "docs", "acme.dump", "--tenant", "acme")
    assert "dumped 0 documents and 1 passage of the tenant 'acme' of 'docs' in " in ran.out
    ran = decant("restore", "acme.dump", "./index", "docs", "--tenant", "beta")
    assert ran.out.startswith("tenant 'beta' of collection 'docs' in ")
    assert ran.out.endswith(" holds 0 documents and 1 passage of acme.dump\n")
    ran = decant("restore", "acme.dump", "./index", "docs", "--tenant", "beta")
    assert ran.code == Exit.INPUT
    assert "has 1 points in 'docs'" in ran.err
    told = decant("restore", "acme.dump", "./index", "acme", "--json").json
    assert isinstance(told, dict)
    assert "tenant" not in told
    told = decant("restore", "acme.dump", "./index", "docs", "--tenant", "other", "--json").json
    assert isinstance(told, dict)
    assert told["tenant"] == "other"
    with connect("./index") as store:
        docs = Collection.open(store, "docs", HashEncoder(8))
        assert docs.tenant_names() == ["acme", "beta", "other", "zeta"]
        assert [hit.text for hit in docs.tenant("beta").search("four")] == ["four acme"]
        assert Collection.open(store, "acme", HashEncoder(8)).count() == 1


def test_what_is_there_and_what_is_damaged_is_an_error_of_input(filled: Decant) -> None:
    filled("dump", "./index", "docs", "docs.dump")
    ran = filled("dump", "./index", "docs", "docs.dump")
    assert ran.code == Exit.INPUT
    assert "--overwrite" in ran.err
    assert filled("dump", "./index", "docs", "docs.dump", "--overwrite").code == 0
    whole = Path("docs.dump").read_bytes()
    Path("docs.dump").write_bytes(whole[:-1])
    ran = filled("restore", "docs.dump", "./index", "copy")
    assert ran.code == Exit.INPUT
    assert "the end of it is missing" in ran.err
    assert "copy" not in filled("list").out


def test_snapshots_of_a_server_are_made_copied_listed_and_deleted(decant: Decant) -> None:
    with QdrantDouble() as double:
        with connect(double.url) as store:
            Collection.create(store, "docs", HashEncoder(8)).add([Record(text="four")])
        assert "docs-1.snapshot: " in decant("snapshot", double.url, "docs").out
        ran = decant("snapshot", double.url, "docs", "--download", "copy")
        assert ran.out == "copied the snapshot 'docs-2.snapshot' to copy\n"
        assert Path("copy").stat().st_size > 0
        one = ("--name", "docs-1.snapshot")
        assert decant("snapshot", double.url, "docs", "--download", "first", *one).code == 0
        decant("snapshot", double.url, "docs", "--recover", "docs-1.snapshot", "--yes")
        assert len(double.engine.named("docs")[1].recovered) == 1
        decant("snapshot", double.url, "docs", "--delete", "docs-1.snapshot", "--yes")
        ran = decant("snapshot", double.url, "docs", "--list")
        assert ran.out.startswith("docs-2.snapshot: ")
        assert "docs-1.snapshot" not in ran.out
        ran = decant("snapshot", double.url, "docs", "--list", "--recover", "x")
        assert ran.code == Exit.INPUT


def test_a_folder_has_no_snapshots_and_names_the_way(filled: Decant) -> None:
    ran = filled("snapshot", "./index", "docs")
    assert ran.code == Exit.INPUT
    assert "decant dump" in ran.err


def test_a_bulk_load_of_the_shell_turns_the_index_off_and_on(
    decant: Decant, tiny_bundle: Path
) -> None:
    Path("notes").mkdir()
    Path("notes/one.txt").write_text("the ferry leaves at seven\n", encoding="utf-8")
    with QdrantDouble() as double:
        options = ("--store", double.url, "--provider", "cpu", "--bulk")
        assert decant("index", tiny_bundle, "notes", *options).code == 0
        changes = [one.body.get("hnsw_config") for one in double.requests("PATCH", "/docs")]
    assert [one["m"] for one in changes if one] == [0, 16]
