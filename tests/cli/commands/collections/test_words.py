"""Words next to vectors in the shell: indexing them, searching by them, explaining hits."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit


@pytest.fixture
def indexed(decant: Decant, tiny_bundle: Path, notes: Path) -> Decant:
    """Return the command, in a folder where ``notes`` is indexed with its words."""
    (notes / "error.md").write_text("Error E1234 means that the gate is shut.\n", encoding="utf-8")
    ran = decant("index", tiny_bundle, notes, "--words", "english")
    assert ran.code == Exit.OK, ran.err
    return decant


def test_a_code_is_found_by_words_and_first_by_both(indexed: Decant, tiny_bundle: Path) -> None:
    for options in (["--mode", "words"], [], ["--fusion", "rrf"], ["--weight", "words=2"]):
        hits = indexed("search", tiny_bundle, "E1234", "--json", *options).json["hits"]
        assert isinstance(hits, list)
        assert hits[0]["source"] == "error.md"
        names = {branch["name"] for branch in hits[0]["branches"]}
        assert names == ({"words"} if "--mode" in options else {"dense", "words"})


def test_explain_shows_a_table_of_the_rankings(indexed: Decant, tiny_bundle: Path) -> None:
    shown = indexed("search", tiny_bundle, "E1234", "--explain").out
    header = next(line.split() for line in shown.splitlines() if "rank" in line.split())
    assert sorted(header) == ["dense", "rank", "score", "words"]
    assert "1 (" in shown
    assert "rank" not in indexed("search", tiny_bundle, "E1234").out.split()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fusion", "best"], "'best' is none of rrf, dbsf, relative"),
        (["--weight", "words"], "'words' is not RANKING=NUMBER"),
        (["--mode", "dense", "--fusion", "rrf"], "one ranking alone is not fused"),
    ],
)
def test_what_cannot_be_is_refused(
    indexed: Decant, tiny_bundle: Path, options: list[str], said: str
) -> None:
    ran = indexed("search", tiny_bundle, "E1234", *options)
    assert ran.code != Exit.OK
    assert said in " ".join(ran.err.replace("│", " ").split())


def test_a_language_that_nobody_knows_is_refused(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    ran = decant("index", tiny_bundle, notes, "--words", "klingon")
    assert ran.code != Exit.OK
    assert "for --words: Qdrant knows no language 'klingon'; give 'none'" in " ".join(
        ran.err.split()
    )


def test_words_are_not_added_to_a_collection_without_a_word(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    assert decant("index", tiny_bundle, notes).code == Exit.OK
    ran = decant("index", tiny_bundle, notes, "--words", "english")
    assert ran.code != Exit.OK
    assert "was made without an index of words" in " ".join(ran.err.split())
