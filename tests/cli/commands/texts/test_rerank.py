"""``decant rerank``: passages of files or a pipe in the order of a reranker's scores."""

from __future__ import annotations

import json
import subprocess
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
        (["nothing", ""], "a", "the query is empty; give one"),
        (["hash", QUERY, "."], "", ". is a folder; give"),
        (["hash", QUERY], "a\n\nb", "line 2 is empty; remove it or pass --skip-empty"),
        (["hash", QUERY], b"\x00\xff", "line 1 is not UTF-8"),
        (["hash", QUERY, "--jsonl"], '{"id": 1}', 'no JSON object with a string "text"'),
        (["hash", QUERY, "--limit", "0"], "a", "--limit"),
        (["hash", QUERY, "--instruction", "Find cats"], "a", "takes no instruction"),
    ],
)
def test_what_cannot_be_scored_is_an_error(
    decant: Decant, arguments: list[str], typed: str | bytes, message: str
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


def test_the_line_is_that_of_the_file_and_several_files_are_named(
    decant: Decant, tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text("\n\nrain\n", encoding="utf-8")
    (tmp_path / "two.txt").write_text("\na cat\n", encoding="utf-8")
    _, alone = decant("rerank", "hash", QUERY, "one.txt", "--skip-empty").out.splitlines()
    assert alone.split() == ["1", "-0.0100", "3", "rain"]
    both = decant("rerank", "hash", QUERY, "one.txt", "two.txt", "--skip-empty").out.splitlines()
    assert [row.split()[2] for row in both[1:]] == ["two.txt:2", "one.txt:3"]
    ran = decant("rerank", "hash", QUERY, "one.txt", "two.txt")
    assert "one.txt: line 1 is empty" in ran.err


def test_what_is_no_plain_file_is_read_to_its_end(decant: Decant) -> None:
    ran = decant("rerank", "hash", QUERY, "/dev/null")
    assert (ran.code, ran.out) == (Exit.FINDING, "")
    assert "no passages" in ran.err


def test_an_encoder_scores_nothing(decant: Decant, tiny_bundle: Path, passages: Path) -> None:
    ran = decant("rerank", tiny_bundle, QUERY, passages)
    assert ran.code == Exit.INPUT
    said = " ".join(ran.err.split())
    assert "is an encoder, which gives vectors and scores no pairs" in said
    assert "`decant search`" in said
    assert "load()" not in said


@pytest.mark.slow
def test_a_reader_that_has_enough_ends_it(decant: Decant, tmp_path: Path) -> None:
    lines = tmp_path / "many.txt"
    lines.write_text("a passage of some words\n" * 20_000, encoding="utf-8")
    arguments = decant.command("rerank", "hash", QUERY, lines)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        assert ran.stdout.readline().split()[0] == b"rank"
        ran.stdout.close()
        said = ran.stderr.read().decode()
    assert ran.returncode == Exit.CLOSED
    assert said.splitlines() == ["scoring 20,000 passages …"]
