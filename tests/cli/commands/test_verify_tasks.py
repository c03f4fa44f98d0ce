"""``decant verify`` with tasks: what it states, and what it says of files that are not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import Bundle

TEXTS = ["the hat", "in a hat", "what is in the hat"]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def test_the_shell_states_sts_and_retrieval(decant: Decant, bundle: Path, tmp_path: Path) -> None:
    sts = tmp_path / "pairs.tsv"
    sts.write_text("5\tthe hat\ta hat\n1\tthe hat\tsnow\n3\tin a hat\tthe hat\n", encoding="utf-8")
    folder = tmp_path / "tiny-search"
    folder.mkdir()
    documents = [{"_id": str(number), "text": text} for number, text in enumerate(TEXTS)]
    queries = [{"_id": "q", "text": "hat"}]
    for name, rows in (("corpus", documents), ("queries", queries)):
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\t1\t1\n", encoding="utf-8")
    ran = decant(
        "verify", bundle, "--provider", "cpu", "--sts", sts, "--retrieval", folder
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    assert "pairs cosine Spearman" in ran.out
    assert "tiny-search nDCG@10" in ran.out
    assert "points" in ran.out
    (entry,) = Bundle.open(bundle).certificate().entries
    assert {task.name for task in entry.tasks} == {"pairs cosine Spearman", "tiny-search nDCG@10"}


def test_the_shell_names_a_file_that_is_not_there(decant: Decant, bundle: Path) -> None:
    ran = decant("verify", bundle, "--provider", "cpu", "--sts", "nowhere.tsv")
    assert ran.code != Exit.OK
    assert "nowhere.tsv" in ran.err
    assert "Traceback" not in ran.err
