"""``decant tune-search``: choose from labelled queries, keep the choice, and search by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.integrations.qdrant import SearchDefaults, SearchMode, connect

COUNT = 24


@pytest.fixture
def coded(decant: Decant, tiny_bundle: Path, tmp_path: Path) -> Decant:
    """Return the command where files that a number tells apart are searched by vectors alone."""
    folder = tmp_path / "coded"
    folder.mkdir()
    for number in range(COUNT):
        text = f"Error E{number:04} means that a gate of the harbour is shut.\n"
        (folder / f"{number}.md").write_text(text, encoding="utf-8")
    lines = [
        json.dumps({"query": f"E{number:04}", "relevant": [f"{number}.md"]})
        for number in range(COUNT)
    ]
    Path("queries.jsonl").write_text("\n".join([*lines, '{"query": "?", "relevant": ["gone.md"]}']))
    ran = decant("index", tiny_bundle, folder, "--words", "none")
    assert ran.code == Exit.OK, ran.err
    with connect("./index") as store:
        store.set_search_defaults("docs", SearchDefaults(mode=SearchMode.DENSE))
    return decant


def branches(decant: Decant, bundle: Path, *options: str) -> set[str]:
    hits = decant("search", bundle, "E0007", "--json", *options).json["hits"]
    assert isinstance(hits, list)
    return {branch["name"] for hit in hits for branch in hit["branches"]}


def test_what_was_chosen_is_kept_shown_and_searched_by(coded: Decant, tiny_bundle: Path) -> None:
    assert branches(coded, tiny_bundle) == {"dense"}
    tried = coded("tune-search", tiny_bundle, "queries.jsonl", "--dry-run")
    assert tried.code == Exit.OK, tried.err
    assert "nothing was changed, because of --dry-run" in tried.err
    assert branches(coded, tiny_bundle) == {"dense"}
    ran = coded("tune-search", tiny_bundle, "queries.jsonl")
    assert ran.code == Exit.OK, ran.err
    assert "words is better than dense: +" in ran.err
    assert "docs in ./index is now searched by: words" in ran.err
    rows = {line.split()[0]: line.split() for line in ran.out.splitlines() if line.split()}
    assert rows["words"] == ["words", "1.000", "best,", "chosen"]
    assert "1 without a relevant passage in the collection" in ran.out
    assert "gone.md" in ran.out
    assert "held-out gain" in ran.out
    assert branches(coded, tiny_bundle) == {"words"}
    assert branches(coded, tiny_bundle, "--mode", "hybrid") == {"dense", "words"}
    assert "searched by  words" in coded("list").out


def test_json_holds_every_number(coded: Decant, tiny_bundle: Path) -> None:
    options = ("--json", "--metric", "recall@1", "--dry-run")
    found = coded("tune-search", tiny_bundle, "queries.jsonl", *options).json
    assert found["kept"] is False
    tuning = found["tuning"]
    assert isinstance(tuning, dict)
    assert tuning["metric"] == "recall@1"
    assert (tuning["queries"], tuning["left_out"], tuning["unknown"]) == (COUNT, 1, ["gone.md"])
    assert tuning["chosen"] == {"mode": "words", "fusion": None}
    assert 0 < tuning["held_out_gain"]["low"] <= tuning["held_out_gain"]["value"]
    assert tuning["candidates"][0]["defaults"] == {"mode": "dense", "fusion": None}


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ('{"query": "E0001", "relevant": ["1.md"]}', (), "1 of 1 queries have a relevant passage"),
        ('{"query": "E0001"}', (), "queries.jsonl:1: expected"),
        ('{"query": "E0001", "relevant": ["1.md"]}', ("--metric", "map"), "is no metric"),
    ],
)
def test_what_cannot_be_tuned_is_wrong_input(
    coded: Decant, tiny_bundle: Path, content: str, options: tuple[str, ...], said: str
) -> None:
    Path("queries.jsonl").write_text(content)
    ran = coded("tune-search", tiny_bundle, "queries.jsonl", *options)
    assert ran.code == Exit.INPUT
    assert said in " ".join(ran.err.replace("│", " ").split())
