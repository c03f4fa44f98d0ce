"""``decant explain-vector``: vectors of texts and of stored passages, read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.export import export
from models import COMPRESS, WIDTH, save_compressing, save_language_model

SHORT = ("--max-new-tokens", 6)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a trained model, its bundle, and the language model to decode with."""
    folder = tmp_path_factory.mktemp("explained")
    save_compressing(folder / "model", read=2, widths=(WIDTH, 40))
    export(folder / "model", folder / "bundle")
    save_language_model(folder / "llama", "llama", layers=1)
    return folder


@pytest.fixture
def indexed(decant: Decant, made: Path, notes: Path) -> Decant:
    ran = decant("index", made / "bundle", notes, "--soft-tokens", "--max-tokens-per-chunk", 32)
    assert ran.code == Exit.OK, ran.err
    return decant


def explained(decant: Decant, *arguments: object) -> list[dict[str, object]]:
    ran = decant("explain-vector", *arguments, *SHORT, "--json")
    assert ran.code == Exit.OK, ran.err
    found = ran.json["explained"]
    assert isinstance(found, list)
    return found


def test_a_bundle_and_its_model_say_the_same_of_a_text(decant: Decant, made: Path) -> None:
    texts = ("why is the sky blue?", "rust")
    one, other = (
        explained(decant, made / kind, *texts, "--decoder", made / "llama", "--top", 3)
        for kind in ("bundle", "model")
    )
    assert one == other
    assert [row["text"] for row in one] == [*texts]
    for row in one:
        assert [*row] == ["text", "says", "tokens"]
        assert isinstance(row["tokens"], list)
        assert [len(tokens) for tokens in row["tokens"]] == [3, 3]


def test_the_terminal_shows_text_explanation_and_a_line_for_each_state(
    decant: Decant, made: Path
) -> None:
    ran = decant("explain-vector", made / "bundle", "the wind", "--decoder", made / "llama", *SHORT)
    assert ran.code == Exit.OK, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "the wind"
    assert lines[1].startswith("says ")
    assert "nearest tokens" in ran.out
    assert sum(" · " in line for line in lines) == 2


def test_stored_passages_are_read_by_query_source_and_id(indexed: Decant, made: Path) -> None:
    common = (made / "bundle", "--decoder", made / "llama")
    hits = explained(indexed, *common, "--query", "when does the ferry leave", "--limit", 2)
    assert len(hits) == 2
    assert all(isinstance(hit["score"], float) for hit in hits)
    chunks = explained(indexed, *common, "--source", "ferry.txt")
    assert {chunk["source"] for chunk in chunks} == {"ferry.txt"}
    assert str(chunks[0]["text"]).startswith("The ferry")
    (same,) = explained(indexed, *common, "--id", chunks[0]["id"])
    assert same == chunks[0]
    fresh = explained(indexed, made / "bundle", same["text"], "--decoder", made / "llama")
    assert fresh[0]["says"] == same["says"]
    assert fresh[0]["tokens"] == same["tokens"]
    shown = indexed("explain-vector", *common, "--source", "ferry.txt", *SHORT).out
    assert shown.startswith("ferry.txt: The ferry")


def test_nothing_to_explain_is_a_finding(indexed: Decant, made: Path) -> None:
    common = (made / "bundle", "--decoder", made / "llama")
    ran = indexed("explain-vector", *common, "--source", "no-such-file.md")
    assert (ran.code, ran.out) == (Exit.FINDING, "")
    assert "nothing to explain" in ran.err


@pytest.mark.parametrize("ways", [(), ("a text", "--query", "q"), ("--id", "a", "--source", "b")])
def test_one_way_to_name_them_is_enough_and_needed(
    decant: Decant, made: Path, ways: tuple[str, ...]
) -> None:
    ran = decant("explain-vector", made / "bundle", *ways, "--decoder", made / "llama")
    assert ran.code == Exit.INPUT
    assert "give one of TEXT, --id, --source, --query" in _flat(ran.err)


def test_what_does_not_fit_is_one_message(
    decant: Decant, made: Path, tiny_bundle: Path, notes: Path
) -> None:
    ran = decant("explain-vector", tiny_bundle, "a", "--decoder", made / "llama")
    assert ran.code == Exit.INPUT
    assert "its recipe appends no tokens" in _flat(ran.err)
    ran = decant("explain-vector", made / "bundle", "a", "--decoder", made / "model")
    assert ran.code == Exit.INPUT
    assert "cannot decode states" in _flat(ran.err)
    assert decant("index", made / "bundle", notes).code == Exit.OK
    ran = decant("explain-vector", made / "bundle", "--query", "a", "--decoder", made / "llama")
    assert ran.code == Exit.ENVIRONMENT
    assert "keeps no states; make it with" in _flat(ran.err)
    ran = decant("index", made / "bundle", notes, "--soft-tokens")
    assert ran.code == Exit.ENVIRONMENT
    assert "made without states" in _flat(ran.err)


def test_inspecting_names_the_appended_tokens(decant: Decant, made: Path) -> None:
    shown = _flat(decant("inspect", made / "bundle").out)
    assert f'"{COMPRESS[0]}"' in shown
    assert "of which the last 2 are read" in shown


def _flat(text: str) -> str:
    return " ".join(text.replace("│", " ").split())
