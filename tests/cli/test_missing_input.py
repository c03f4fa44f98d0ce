"""What was typed and is not there is wrong input (2), whichever command it was given to."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit

# {b}: a bundle, {m}: its model's folder, {t}: a file of texts, {p}: of pairs, {g}: of word vectors,
# {n}: where nothing is, {d}: an empty folder.
COMMANDS = [
    "export {n} out",
    "export {d} out",
    "export {m} out --adapter {n}",
    "seal {n} {m} out",
    "seal {d} {m} out",
    "seal {t} {n} out",
    "convert {n} int8",
    "convert {t} int8",
    "convert {b} int8 --texts {n}",
    "verify {n}",
    "verify {t}",
    "tune {n}",
    "tune {b} --texts {n}",
    "calibrate {n} --texts {t}",
    "calibrate {b} --texts {n}",
    "calibrate {b} --texts {d}",
    "inspect {n}",
    "inspect {t}",
    "embed {n} {t} --role query",
    "embed {b} {n} --role query",
    "embed {b} {d} --role query",
    "embed {b} {t}/x --role query",
    "embed {b} {t} --role query -o {n}/out.npy",
    "evaluate {n} --words {t}",
    "evaluate {g} --words {n}",
    "evaluate {g} --words {d}",
    "evaluate {g} --sts {n}",
    "evaluate {g} --sts {d}",
    "evaluate {g} --pairs {n}",
    "evaluate {g} --analogies {n}",
    "evaluate {g} --anchors {n}",
    "evaluate {g} --retrieval {n}",
    "evaluate {g} --retrieval {t}",
    "evaluate {g} --words {t} --output {n}/out.json",
    "evaluate {g} --words {t} --html {n}/out.html",
    "serve {n}",
    "serve {t}",
    "serve {b} --keys {n}",
    "serve {b} --keys {d}",
    "index {n} {d}",
    "index {b} {n}",
    "index {b} {d}",
    "search {n} hello",
    "search {b} hello --store {n}",
    "search {b} hello --collection none",
    "search {b} hello --collection none/such",
    "search {b} hello --store localhost:6333",
    "search {b} hello --store http://localhost:0",
    "search {b} hello --store {t}",
    "list --store localhost:6333",
    "list --store {t}",
    "check --store {n}",
    "check --collection none/such",
    "delete --source a --store {n} --yes",
    "drop docs --store {n} --yes",
    "drop none/such --yes",
    "explain-vector {n} hello --decoder {m}",
    "explain-vector {b} --query a --decoder {m} --store {n}",
    "train contrastive --base {n} --pairs {p} --out out",
    "train contrastive --base {m} --pairs {n} --out out",
    "train contrastive --base {m} --pairs {d} --out out",
    "train contrastive --base {m} --corpus {n} --out out",
    "train contrastive --base {m} --pairs {p} --out out --settings {n}",
    "train simcse --base {m} --texts {n} --out out",
    "train distil --base {m} --teacher {n} --texts {t} --out out",
    "train mine --bundle {n} --pairs {p} --out mined.jsonl",
    "train mine --bundle {b} --pairs {n} --out mined.jsonl",
    "train mine --bundle {b} --pairs {p} --out {n}/mined.jsonl",
    "train generate --model {n} --texts {t} --out out.jsonl",
    "train generate --model {m} --texts {n} --out out.jsonl",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_there_is_wrong_input(
    decant: Decant,
    tiny_bundle: Path,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    texts, pairs, empty = tmp_path / "texts.txt", tmp_path / "pairs.tsv", tmp_path / "empty"
    texts.write_text("sun\tsea\t5\n", encoding="utf-8")
    pairs.write_text("query\tpositive\nwhat is it?\tit is that\n", encoding="utf-8")
    (tmp_path / "glove.txt").write_text("sun 1 0\nsea 0 1\n", encoding="utf-8")
    empty.mkdir()
    places = {"b": tiny_bundle, "m": tiny_folder, "t": texts, "p": pairs, "d": empty}
    places |= {"g": tmp_path / "glove.txt", "n": tmp_path / "nowhere"}
    ran = decant(*(word.format(**places) for word in command.split()))
    assert ran.code == Exit.INPUT, (ran.out, ran.err)
    assert "Traceback" not in ran.err
    assert not (tmp_path / "out").exists()


WANTED = {
    "embed bundle missing --role query": "one text a line",
    "calibrate-vectors bundle --texts missing": "one text a line",
    "convert bundle int8 --texts missing": "one text a line",
    "tune bundle --texts missing": "one text a line",
    "verify bundle --sts missing": "score<TAB>sentence<TAB>sentence",
    "verify bundle --retrieval missing": "corpus.jsonl, queries.jsonl and qrels.tsv",
    "evaluate bundle --sts missing": "score<TAB>sentence<TAB>sentence",
    "evaluate bundle --retrieval missing": "corpus.jsonl, queries.jsonl and qrels.tsv",
    "evaluate bundle --words missing": "word<TAB>word<TAB>score",
    "evaluate bundle --pairs missing": "1<TAB>text<TAB>text",
    "evaluate bundle --analogies missing": "a folder of BATS",
    "evaluate bundle --anchors missing": "sentence<TAB>variation<TAB>varied sentence",
    "train contrastive --base model --out out --pairs missing": "query<TAB>positive",
    "train contrastive --base model --out out --corpus missing": "a folder of text files",
    "train contrastive --base model --out out --pairs . --settings missing": "a TOML file",
    "train contrastive --base model --out out --pairs . --sts missing": "score<TAB>sentence",
    "train simcse --base model --out out --texts missing": '{"query": "…"}',
    "train graded --base model --out out --pairs missing": "score<TAB>query<TAB>positive",
    "train mine --bundle bundle --out out.jsonl --pairs missing": "query<TAB>positive",
    "train generate --model model --out out.jsonl --texts missing": '{"query": "…"}',
    "train compress --base model --out out --pairs missing": '"instruction"',
    "train align --base model --decoder model --out out --pairs missing": '"negatives"',
    "train gen --base model --teacher bundle --out out --pairs missing": '"response"',
}


@pytest.mark.parametrize("command", WANTED)
def test_a_missing_file_is_answered_with_the_format_that_is_wanted(
    decant: Decant, command: str
) -> None:
    ran = decant(*command.split())
    assert ran.code == Exit.INPUT
    (line,) = ran.err.splitlines()
    assert "missing does not exist; give " in line
    assert WANTED[command] in line
    assert "--debug" not in line


def test_a_server_that_does_not_answer_is_the_environment(decant: Decant) -> None:
    ran = decant("list", "--store", "http://127.0.0.1:9")
    assert ran.code == Exit.ENVIRONMENT, ran.err
