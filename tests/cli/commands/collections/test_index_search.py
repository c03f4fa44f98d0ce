"""``decant index`` and ``decant search``: a folder in, hits out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.commands.collections.search import mixture
from decant.cli.exit_codes import Exit
from decant.embedders import HashEncoder, load
from decant.integrations.qdrant import Collection, Filling, Record, connect

PASSAGE = "Bread rises because yeast turns sugar into carbon dioxide."


@pytest.fixture
def indexed(decant: Decant, tiny_bundle: Path, notes: Path) -> Decant:
    """Return the command, in a folder where ``notes`` is indexed."""
    assert decant("index", tiny_bundle, notes).code == Exit.OK
    return decant


def test_a_folder_is_indexed_and_the_report_shown(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    ran = decant("index", tiny_bundle, notes)
    assert ran.code == Exit.OK
    assert "3 added · 0 changed · 0 unchanged · 0 removed · 0 unreadable" in ran.out
    assert "indexing 3 documents" in ran.err
    assert "runs on CPUExecutionProvider in fp32" in ran.err


def test_indexing_again_embeds_only_what_changed(
    indexed: Decant, tiny_bundle: Path, notes: Path
) -> None:
    (notes / "ferry.txt").write_text("There is no ferry any more.\n")
    (notes / "bread.md").unlink()
    report = indexed("index", tiny_bundle, notes, "--json").json["report"]
    assert isinstance(report, dict)
    counts = {name: report[name] for name in ("added", "changed", "unchanged", "removed")}
    assert counts == {"added": 0, "changed": 1, "unchanged": 1, "removed": 1}
    assert report["embedded"] == 1


def test_an_unreadable_file_is_named_and_the_others_are_indexed(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    (notes / "latin.txt").write_bytes(b"caf\xe9")
    ran = decant("index", tiny_bundle, notes)
    assert ran.code == Exit.FINDING
    assert "3 added" in ran.out
    assert "latin.txt: byte 0xe9" in ran.out


def test_the_last_line_says_where_the_data_went(
    decant: Decant, tiny_bundle: Path, notes: Path, tmp_path: Path
) -> None:
    ran = decant("index", tiny_bundle, notes, "--store", "here", "--collection", "mine")
    assert ran.out.splitlines()[-1] == (
        f"collection 'mine' in {tmp_path / 'here'} holds 3 documents, 6 passages"
    )
    told = decant("index", tiny_bundle, notes, "--store", "here", "--collection", "mine", "--json")
    assert {key: told.json[key] for key in ("store", "collection", "documents", "passages")} == {
        "store": str(tmp_path / "here"),
        "collection": "mine",
        "documents": 3,
        "passages": 6,
    }
    assert (told.json["precision"], told.json["provider"]) == ("fp32", "CPUExecutionProvider")


def test_the_index_does_not_index_itself(
    decant: Decant, tiny_bundle: Path, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_bundle, notes / "model")
    monkeypatch.chdir(notes)
    for unchanged in (0, 3):
        ran = decant("index", "model", ".")
        assert f"{unchanged} unchanged · 0 removed" in ran.out
        assert "passed over  2: index/docs/ (collection), model/ (bundle)" in ran.out
    assert ran.out.splitlines()[-1].endswith("holds 3 documents, 6 passages")


def test_an_emptied_folder_empties_its_root(
    indexed: Decant, tiny_bundle: Path, notes: Path
) -> None:
    for file in notes.iterdir():
        file.unlink()
    ran = indexed("index", tiny_bundle, notes)
    assert ran.code == Exit.OK
    assert "3 removed" in ran.out
    assert indexed("index", tiny_bundle, notes).code == Exit.INPUT


def test_a_folder_without_documents_makes_no_collection(
    decant: Decant, tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    ran = decant("index", tiny_bundle, "empty")
    assert ran.code == Exit.INPUT
    assert "no readable text" in ran.err
    assert not (tmp_path / "index").exists()


def test_one_document_is_said_in_the_singular(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    assert "indexing 1 document …" in decant("index", tiny_bundle, notes / "bread.md").err
    assert "1 document · 3 chunks · 0 records" in decant("check").out


def test_a_folder_that_is_gone_is_an_error_that_says_how_its_documents_leave(
    indexed: Decant, tiny_bundle: Path, notes: Path
) -> None:
    notes.rename("renamed")
    ran = indexed("index", tiny_bundle, notes)
    assert ran.code == Exit.INPUT
    assert f"`decant delete --root {notes}`" in ran.err
    told = indexed("index", tiny_bundle, "renamed", "--root", notes, "--json").json
    assert (told["root"], told["documents"]) == (str(notes), 3)
    assert told["report"]["unchanged"] == 3  # type: ignore[index]


def test_a_bundle_or_an_index_in_place_of_the_folder_is_refused(
    indexed: Decant, tiny_bundle: Path
) -> None:
    ran = indexed("index", tiny_bundle, tiny_bundle)
    assert ran.code == Exit.INPUT
    assert "is a bundle of decant" in ran.err
    assert indexed("index", tiny_bundle, "index").code == Exit.INPUT


def test_hits_of_several_roots_say_which(indexed: Decant, tiny_bundle: Path, notes: Path) -> None:
    assert "in " + str(notes) not in indexed("search", tiny_bundle, PASSAGE).out
    shutil.copytree(notes, "copy")
    indexed("index", tiny_bundle, "copy", "--root", "the copy")
    out = indexed("search", tiny_bundle, PASSAGE, "--source", "bread.md").out
    assert "     in the copy\n" in out
    assert f"     in {notes}" in out.replace("\n", "").replace(" " * 5 + "in ", "\n     in ")


def test_json_says_what_asked_and_what_filled(indexed: Decant, tiny_bundle: Path) -> None:
    told = indexed("search", tiny_bundle, PASSAGE, "--json").json
    with load(tiny_bundle) as encoder:
        assert told["encoder"] == {
            "model": encoder.recipe.base,
            "digest": encoder.recipe.digest(),
            "precision": "fp32",
            "provider": "CPUExecutionProvider",
        }
    assert told["filled_by"] == [{"precision": "fp32", "provider": "CPUExecutionProvider"}]


@pytest.mark.parametrize(
    ("filled_by", "said"),
    [
        ([], ""),
        (["fp32"], ""),
        (["fp32", "given", "unknown"], ""),
        (["int8"], "filled in int8 and is asked in fp32"),
        (["int8", "fp32"], "filled in fp32, int8 and is asked in fp32"),
    ],
)
def test_a_mixture_of_precisions_is_told(filled_by: list[str], said: str) -> None:
    told = mixture([Filling(one) for one in filled_by], "fp32")
    assert said in told
    assert bool(told) == bool(said)


def test_a_folder_without_text_is_an_input_error(
    decant: Decant, tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    ran = decant("index", tiny_bundle, "empty")
    assert ran.code == Exit.INPUT
    assert "no readable text" in ran.err


def test_hits_are_shown_with_score_source_and_passage(indexed: Decant, tiny_bundle: Path) -> None:
    ran = indexed("search", tiny_bundle, PASSAGE)
    assert ran.code == Exit.OK
    assert "bread.md" in ran.out
    assert "Bread rises because yeast" in ran.out
    assert all(len(line) <= 80 for line in ran.out.splitlines())


def test_hits_as_json_have_the_whole_passage(indexed: Decant, tiny_bundle: Path) -> None:
    hits = found(indexed, tiny_bundle, PASSAGE, "--limit", 2)
    assert len(hits) == 2
    assert set(hits[0]) == {
        "id",
        "score",
        "source",
        "root",
        "start",
        "text",
        "metadata",
        "branches",
        "boost",
    }
    assert {hit["source"] for hit in hits} <= {"bread.md", "ferry.txt", "peps.txt"}


def test_an_offset_continues_where_the_limit_stopped(indexed: Decant, tiny_bundle: Path) -> None:
    all_hits = found(indexed, tiny_bundle, PASSAGE, "--limit", 3)
    assert found(indexed, tiny_bundle, PASSAGE, "--limit", 1, "--offset", 2) == all_hits[2:]
    shown = indexed("search", tiny_bundle, PASSAGE, "--limit", 1, "--offset", 2).out
    assert shown.startswith("  3  ")


def test_sources_are_alternatives(indexed: Decant, tiny_bundle: Path) -> None:
    hits = found(indexed, tiny_bundle, "x", "--source", "ferry.txt", "--source", "peps.txt")
    assert {hit["source"] for hit in hits} == {"ferry.txt", "peps.txt"}


def test_no_hits_are_said_so_and_told_by_the_exit_code(indexed: Decant, tiny_bundle: Path) -> None:
    ran = indexed("search", tiny_bundle, PASSAGE, "--source", "nothing.md")
    assert ran.code == Exit.FINDING
    assert ran.out == ""
    assert ran.err == "no hits\n"
    assert indexed("search", tiny_bundle, "x", "--source", "n", "--json").json["hits"] == []


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        (["year=2020"], {"number"}),
        (['year="2020"'], {"text"}),
        (["draft=true"], {"text"}),
        (["name=a=b c"], {"number"}),
        (["year=2020", "draft=true"], set()),
        (["ratio=0.5"], {"text"}),
    ],
)
def test_metadata_is_compared_with_json_values_or_text(
    decant: Decant, tiny_bundle: Path, conditions: list[str], ids: set[str]
) -> None:
    records = [
        Record(id="number", text="one", metadata={"year": 2020, "name": "a=b c"}),
        Record(id="text", text="two", metadata={"year": "2020", "draft": True, "ratio": 0.5}),
    ]
    with connect("./index") as store, load(tiny_bundle) as encoder:
        Collection.create(store, "docs", encoder).add(records)
    options = [word for condition in conditions for word in ("--where", condition)]
    assert {hit["id"] for hit in found(decant, tiny_bundle, "x", *options)} == ids


def test_a_condition_without_a_value_is_wrong_usage(indexed: Decant, tiny_bundle: Path) -> None:
    ran = indexed("search", tiny_bundle, "x", "--where", "year")
    assert ran.code == Exit.INPUT
    assert "KEY=VALUE" in ran.err


def test_another_models_collection_is_refused_and_both_are_named(
    decant: Decant, tiny_bundle: Path
) -> None:
    with connect("./index") as store:
        Collection.create(store, "docs", HashEncoder())
    ran = decant("search", tiny_bundle, "x")
    assert ran.code == Exit.INPUT
    assert HashEncoder().recipe.digest() in ran.err
    assert "tiny-bert" in ran.err


def test_a_collection_that_is_not_there_is_wrong_input(indexed: Decant, tiny_bundle: Path) -> None:
    ran = indexed("search", tiny_bundle, "x", "--collection", "nope")
    assert ran.code == Exit.INPUT
    assert "'nope'" in ran.err
    assert "'docs'" in ran.err


def test_a_server_that_is_not_there_is_a_store_error(decant: Decant, tiny_bundle: Path) -> None:
    ran = decant("search", tiny_bundle, "x", "--store", "http://127.0.0.1:9")
    assert ran.code == Exit.ENVIRONMENT
    assert "http://127.0.0.1:9" in ran.err


def test_a_key_in_the_environment_does_not_disturb_a_folder(
    indexed: Decant, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    assert indexed("search", tiny_bundle, PASSAGE).code == Exit.OK


def test_a_passage_cannot_steer_the_terminal(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    (notes / "bread.md").write_text("[bold]not markup[/bold] \x1b[31mred\x1b[0m \x07 bell")
    decant("index", tiny_bundle, notes)
    out = decant("search", tiny_bundle, "x", "--source", "bread.md").out
    assert "[bold]not markup[/bold]" in out
    assert "\x1b" not in out
    assert "\x07" not in out


def found(decant: Decant, bundle: Path, *words: object) -> list[dict[str, object]]:
    """Return the hits of a search."""
    hits = json.loads(decant("search", bundle, *words, "--json").out)["hits"]
    assert isinstance(hits, list)
    return hits
