"""``decant rerank``: passages of files or a pipe in the order of a reranker's scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import HashReranker

QUERY = "a cat"
TEXTS = ["rain [bold]falls[/bold]", "a cat sat", "the cat on a mat", "rain [bold]falls[/bold]"]
SCORES = HashReranker().score(QUERY, TEXTS).tolist()
ORDER = [1, 2, 0, 3]


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    file = tmp_path / "passages.txt"
    file.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return file


def test_a_table_shows_the_best_passages_first(decant: Decant, passages: Path) -> None:
    ran = decant("rerank", "hash", QUERY, passages)
    assert ran.code == Exit.OK
    head, *rows = ran.out.splitlines()
    assert head.split() == ["rank", "score", "line", "passage"]
    assert [row.split(maxsplit=3) for row in rows] == [
        [str(rank), f"{SCORES[at]:.4f}", str(at + 1), TEXTS[at]] for rank, at in enumerate(ORDER, 1)
    ]


def test_standard_input_gives_json(decant: Decant) -> None:
    ran = decant("rerank", "hash", QUERY, "--json", typed="\n".join(TEXTS))
    assert ran.code == Exit.OK
    assert ran.json["query"] == QUERY
    assert ran.json["reranker"] == {"model": "hash", "digest": HashReranker().recipe.digest()}
    assert ran.json["passages"] == [
        {"text": TEXTS[at], "place": at, "score": SCORES[at]} for at in ORDER
    ]


def test_json_lines_keep_their_fields_and_the_limit_cuts(decant: Decant, tmp_path: Path) -> None:
    lines = [json.dumps({"text": text, "id": str(at)}) for at, text in enumerate(TEXTS)]
    (tmp_path / "one.jsonl").write_text("\n".join(lines[:2]), encoding="utf-8")
    (tmp_path / "two.jsonl").write_text("\n".join(lines[2:]), encoding="utf-8")
    asked = ("rerank", "hash", QUERY, "one.jsonl", "two.jsonl", "--jsonl", "--json", "--limit", 2)
    found = decant(*asked).json["passages"]
    assert isinstance(found, list)
    assert [one["id"] for one in found] == ["1", "2"]
    assert [one["place"] for one in found] == [1, 2]


def test_no_passages_are_a_finding(decant: Decant) -> None:
    ran = decant("rerank", "hash", QUERY, typed="")
    assert ran.code == Exit.FINDING
    assert "no passages" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize(
    ("arguments", "typed", "message"),
    [
        (["hash", QUERY, "nothing.txt"], "", "nothing.txt does not exist"),
        (["nothing", QUERY], "a", "nothing"),
        (["http://user:secret@reranker", QUERY], "a", "also holds a user"),
        (["hash", ""], "a", "the query"),
        (["hash", QUERY], "a\n\nb", "line 2 is empty"),
        (["hash", QUERY, "--instruction", "Find cats"], "a", "takes no instruction"),
    ],
)
def test_what_cannot_be_scored_is_an_error(
    decant: Decant, arguments: list[str], typed: str, message: str
) -> None:
    ran = decant("rerank", *arguments, typed=typed)
    assert ran.code not in (Exit.OK, Exit.FINDING)
    assert message in " ".join(ran.err.split())
    assert ran.out == ""


def test_empty_lines_are_passed_over_on_request(decant: Decant) -> None:
    ran = decant("rerank", "hash", QUERY, "--skip-empty", "--json", typed="a\n\na cat")
    found = ran.json["passages"]
    assert isinstance(found, list)
    assert [one["text"] for one in found] == ["a cat", "a"]
