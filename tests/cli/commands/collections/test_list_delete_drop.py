"""``decant list``, ``delete`` and ``drop``: what a store holds, and how it leaves; no model."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import typer

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.cli.input.confirm import confirm
from decant.embedders import HashEncoder
from decant.integrations.qdrant import (
    Collection,
    CollectionSettings,
    Document,
    Fusion,
    Record,
    SearchDefaults,
    SearchMode,
    Words,
    connect,
)


@pytest.fixture
def filled(decant: Decant) -> Decant:
    """Return the command, in a folder whose ``./index`` holds two collections."""
    encoder = HashEncoder(8)
    with connect("./index") as store:
        docs = Collection.create(store, "docs", encoder)
        docs.index(
            [
                Document(source="a.md", text="one", root="/old"),
                Document(source="b.md", text="two", root="/old"),
                Document(source="a.md", text="one", root="/new"),
                Document(source="loose", text="three"),
            ]
        )
        docs.add([Record(id="r", text="four", source="loose")])
        Collection.create(store, "empty", encoder)
    return decant


def listed(decant: Decant) -> dict[str, dict[str, object]]:
    collections = decant("list", "--json").json["collections"]
    assert isinstance(collections, list)
    return {one["name"]: one for one in collections}


class TestList:
    def test_collections_and_their_roots(self, filled: Decant) -> None:
        assert listed(filled)["docs"] == {
            "name": "docs",
            "model": HashEncoder(8).recipe.base,
            "digest": HashEncoder(8).recipe.digest(),
            "dim": 8,
            "sparse": False,
            "states": False,
            "token_vectors": None,
            "words": None,
            "search_defaults": None,
            "layout": {
                "storage": "full",
                "originals": "memory",
                "shards": 1,
                "replicas": 1,
                "write_consistency": 1,
                "strict": False,
                "prefix": 0,
            },
            "alias_of": None,
            "migration": None,
            "filled_by": [{"precision": "fp32", "provider": "HashEncoder"}],
            "documents": 4,
            "passages": 5,
            "records": 1,
            "roots": [
                {"root": None, "documents": 1},
                {"root": "/new", "documents": 1},
                {"root": "/old", "documents": 2},
            ],
        }
        assert listed(filled)["empty"]["roots"] == []

    def test_a_terminal_shows_the_same(self, filled: Decant) -> None:
        ran = filled("list")
        assert ran.code == Exit.OK
        assert "4 documents, 5 passages, 1 record among them" in ran.out
        assert "/old: 2 documents" in ran.out
        assert "(no root): 1 document" in ran.out

    def test_rankings_and_search_defaults_are_shown(self, filled: Decant) -> None:
        with connect("./index") as store:
            encoder = HashEncoder(8, sparse=True)
            made = Collection.create(
                store, "both", encoder, settings=CollectionSettings(words=Words(language="german"))
            )
            fusion = Fusion.dbsf(weights={"words": 0.5})
            made.set_search_defaults(SearchDefaults(mode=SearchMode.HYBRID, fusion=fusion))
            assert made.info().words == Words(language="german")
        (shown,) = [part for part in filled("list").out.split("collection  ") if "both" in part]
        assert "8 wide, dense and sparse" in shown
        assert "german, stemmed, no stop words" in shown
        assert "hybrid, dbsf, words=0.5" in shown
        both = listed(filled)["both"]
        assert both["sparse"] is True
        assert both["words"] == {
            "language": "german",
            "stemming": True,
            "stop_words": True,
            "segmented": None,
        }
        assert both["search_defaults"]["fusion"]["weights"] == {"words": 0.5}  # type: ignore[index]

    def test_a_store_without_collections(self, decant: Decant, tmp_path: Path) -> None:
        ran = decant("list")
        assert (ran.code, ran.out) == (Exit.OK, "")
        assert "holds no collections" in ran.err
        assert not (tmp_path / "index").exists(), "looking makes nothing"

    def test_a_damaged_collection_does_not_hide_the_others(self, filled: Decant) -> None:
        Path("index/empty/collection.json").write_text("{}")
        ran = filled("list")
        assert ran.code == Exit.FINDING
        assert "4 documents" in ran.out
        assert "the metadata of collection 'empty'" in " ".join(ran.out.split())
        assert "error" in filled("list", "--json").json["collections"][1]  # type: ignore[index]


class TestDelete:
    @pytest.mark.parametrize(
        ("chosen", "documents", "passages"),
        [
            (["--source", "a.md"], 2, 2),
            (["--source", "a.md", "--root", "/old"], 1, 1),
            (["--root", "/old"], 2, 2),
            (["--root", "/old", "--root", "/new"], 3, 3),
            (["--source", "loose"], 1, 2),
            (["--source", "b.md", "--source", "loose"], 2, 3),
            (["--id", "r"], 0, 1),
        ],
    )
    def test_exactly_what_was_chosen_goes(
        self, filled: Decant, chosen: list[str], documents: int, passages: int
    ) -> None:
        counted = {"documents": documents, "passages": passages}
        told = filled("delete", *chosen, "--dry-run", "--json").json
        assert {name: told[name] for name in counted} == counted
        assert listed(filled)["docs"]["passages"] == 5, "a dry run deletes nothing"
        told = filled("delete", *chosen, "--yes", "--json").json
        assert {name: told[name] for name in counted} == counted
        left = listed(filled)["docs"]
        assert (left["documents"], left["passages"]) == (4 - documents, 5 - passages)

    def test_a_root_may_be_given_as_its_folder(
        self, decant: Decant, tiny_bundle: Path, notes: Path
    ) -> None:
        assert decant("index", tiny_bundle, notes).code == Exit.OK
        notes.rename("gone")
        ran = decant("delete", "--root", "notes", "--yes")
        assert (ran.code, ran.out.partition(" of ")[0]) == (
            Exit.OK,
            "deleted 3 documents, 6 passages",
        )

    def test_what_will_go_is_said_and_nobody_to_ask_is_an_error(self, filled: Decant) -> None:
        ran = filled("delete", "--root", "/old")
        assert ran.code == Exit.INPUT
        assert "2 documents, 2 passages of collection 'docs'" in ran.err
        assert "--yes" in ran.err
        assert listed(filled)["docs"]["documents"] == 4

    def test_nothing_that_matches_is_a_finding(self, filled: Decant) -> None:
        ran = filled("delete", "--source", "nope", "--yes")
        assert (ran.code, ran.out) == (Exit.FINDING, "")
        assert "nothing in collection 'docs'" in ran.err

    @pytest.mark.parametrize(
        "chosen", [[], ["--id", "r", "--source", "a.md"], ["--source", ""], ["--root", ""]]
    )
    def test_a_choice_that_is_none_is_wrong_usage(self, filled: Decant, chosen: list[str]) -> None:
        assert filled("delete", *chosen, "--yes").code == Exit.INPUT
        assert listed(filled)["docs"]["passages"] == 5

    def test_a_collection_that_is_not_there_is_named(self, filled: Decant) -> None:
        ran = filled("delete", "--source", "a.md", "--collection", "nope", "--yes")
        assert ran.code == Exit.INPUT
        assert "it holds 'docs', 'empty'" in ran.err


class TestDrop:
    def test_a_collection_goes_and_the_others_stay(self, filled: Decant) -> None:
        ran = filled("drop", "docs", "--yes")
        assert ran.code == Exit.OK
        assert "will be deleted: 4 documents, 5 passages" in ran.err
        assert set(listed(filled)) == {"empty"}

    def test_one_whose_card_is_lost_goes(self, filled: Decant) -> None:
        Path("index/docs/collection.json").unlink()
        ran = filled("drop", "docs", "--yes")
        assert ran.code == Exit.OK
        assert "what it holds cannot be read (the metadata of the collection 'docs'" in ran.err
        assert "decant drop docs" in ran.err
        assert not Path("index/docs").exists()

    def test_it_must_be_confirmed(self, filled: Decant) -> None:
        assert filled("drop", "docs").code == Exit.INPUT
        assert set(listed(filled)) == {"docs", "empty"}

    def test_one_that_is_not_there_is_an_error(self, filled: Decant) -> None:
        ran = filled("drop", "nope", "--yes")
        assert ran.code == Exit.INPUT
        assert "no collection 'nope'" in ran.err


class Typed(io.StringIO):
    """A terminal at which this was typed."""

    def isatty(self) -> bool:
        return True


def test_an_answer_at_a_terminal_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Typed("y\n"))
    confirm("Delete it?", yes=False)
    monkeypatch.setattr(sys, "stdin", Typed("\n"))
    with pytest.raises(typer.Abort):
        confirm("Delete it?", yes=False)


def test_these_commands_need_no_model(filled: Decant) -> None:
    for words in (["list"], ["delete", "--root", "/old", "--yes"], ["drop", "docs", "--yes"]):
        assert filled.without("onnxruntime", *words).code == Exit.OK, words
    assert [path.name for path in Path("index").iterdir()] == ["empty"]
