"""``decant check`` and ``decant index --verify``: what a collection lost is found and put back."""

from __future__ import annotations

from pathlib import Path

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.integrations.qdrant import Field, FieldIn, Select, connect
from decant.integrations.qdrant.stores.protocol import each


def lose_chunks(index: Path, source: str) -> None:
    """Delete the chunks of a source as damage would, behind the collection's back."""
    with connect(index) as store:
        where = FieldIn(Field.SOURCE, [source])
        points = [p for page in each(store, "docs", where, Select()) for p in page]
        store.delete("docs", [p.id for p in points if p.payload["kind"] == "chunk"])


def test_a_collection_is_checked_and_repaired(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    assert decant("index", tiny_bundle, notes).code == Exit.OK
    ran = decant("check")
    assert ran.code == Exit.OK
    assert "3 documents" in ran.out
    assert "nothing is wrong" in ran.err
    lose_chunks(Path("index"), "ferry.txt")
    ran = decant("check")
    assert ran.code == Exit.FINDING
    assert "1 missing" in ran.out
    assert "missing: ferry.txt of " in ran.out
    assert "--verify" in ran.err
    report = decant("check", "--json").json["report"]
    assert isinstance(report, dict)
    assert (report["missing"], report["documents"]) == (1, 3)
    assert report["findings"][0]["flaw"] == "missing"
    ran = decant("index", tiny_bundle, notes, "--verify")
    assert ran.code == Exit.OK
    assert "1 of the changed documents were damaged and have been repaired" in ran.out
    assert decant("check").code == Exit.OK


def test_an_ordinary_run_says_what_it_noticed(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    decant("index", tiny_bundle, notes)
    lose_chunks(Path("index"), "ferry.txt")
    assert "damaged chunks of 1 document were lost" in decant("index", tiny_bundle, notes).out
    assert "1 changed · 2 unchanged" in decant("index", tiny_bundle, notes).out
    assert decant("check").code == Exit.OK


def test_checking_what_is_not_there_is_an_error(decant: Decant, tmp_path: Path) -> None:
    ran = decant("check", "--store", tmp_path / "nowhere")
    assert ran.code == Exit.INPUT
    assert "no collection 'docs'" in ran.err
