"""``decant train mine`` and ``generate``: data for training, made of data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import Role, load
from decant.training import TrainingExample, read_table
from models import save_language_model

WORDS = ("ferry", "island", "bread", "yeast", "whale", "winter")


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Return pairs under names of their own."""
    path = tmp_path / "faq.tsv"
    rows = [f"what of the {a}?\tthe {b} is beside the {a}\n" for a in WORDS for b in WORDS[:3]]
    path.write_text("question\treply\n" + "".join(rows), encoding="utf-8")
    return path


def read(path: Path) -> list[TrainingExample]:
    return list(read_table([path]))


def test_negatives_are_near_and_below_the_threshold_by_the_bundles_own_cosines(
    decant: Decant, bundle: Path, pairs: Path, tmp_path: Path
) -> None:
    corpus = {"a.txt": "the oven is beside", "b.txt": "the tide is beside"}
    (tmp_path / "corpus").mkdir()
    for name, text in corpus.items():  # short enough to be one chunk each
        (tmp_path / "corpus" / name).write_text(text, encoding="utf-8")
    asked = (
        "--columns",
        "query=question,positive=reply",
        "--negatives",
        3,
        "--max-positive-ratio",
        0.98,
    )
    ran = decant(
        "train", "mine", "--bundle", bundle, "--pairs", pairs, "--out", "mined.jsonl",
        "--corpus", "corpus", *asked, "--json",
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    rows = read(tmp_path / "mined.jsonl")
    mined = ran.json["mined"]
    assert isinstance(mined, dict)
    assert mined["rows"] == len(rows) == 18
    counts = [len(row.negatives) for row in rows]
    assert mined["negatives"] == {str(n): counts.count(n) for n in sorted(set(counts))}
    assert ran.json["without"] == counts.count(0)
    positives = [row.positive or "" for row in rows]
    passages = list(dict.fromkeys([*positives, *corpus.values()]))
    with load(bundle) as encoder:
        held = encoder.encode(passages, role=Role.PASSAGE).dense
        queries = encoder.encode([row.query for row in rows], role=Role.QUERY).dense
    cosines = queries @ held.T
    for row, scores in zip(rows, cosines, strict=True):
        highest = 0.98 * scores[passages.index(row.positive or "")]
        right = {one.positive for one in rows if one.query == row.query}
        below = [
            passages[at]
            for at in np.argsort(-scores, kind="stable")
            if scores[at] <= highest and passages[at] not in right
        ]
        assert list(row.negatives) == below[:3]
    assert any(text in row.negatives for row in rows for text in corpus.values())


def test_mined_pairs_are_shown_and_the_next_step_is_named(
    decant: Decant, bundle: Path, pairs: Path
) -> None:
    ran = decant(
        "train", "mine", "--bundle", bundle, "--pairs", pairs, "--out", "mined.jsonl",
        "--columns", "query=question,positive=reply",
    )  # fmt: skip
    assert ran.code == Exit.OK
    assert "without any" in ran.out
    assert "next: decant train contrastive --pairs mined.jsonl" in ran.err


def test_bad_input_of_mining_is_refused_and_leaves_nothing(
    decant: Decant, bundle: Path, pairs: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    asked = ("train", "mine", "--bundle", bundle, "--pairs", pairs)
    columns = ("--columns", "query=question,positive=reply")
    wrong = decant(*asked, "--out", "mined.jsonl")
    assert wrong.code == Exit.INPUT
    assert "faq.tsv:1: no column is the positive" in wrong.err
    share = decant(*asked, *columns, "--out", "mined.jsonl", "--share", 2)
    assert share.code == Exit.INPUT
    assert "max_positive_ratio must be above 0" in share.err
    there = decant(*asked, *columns, "--out", pairs)
    assert there.code == Exit.INPUT
    assert "exists; choose another name" in there.err
    nowhere = decant(*asked, *columns, "--out", "mined.jsonl", "--corpus", "nowhere")
    assert nowhere.code == Exit.INPUT
    assert "nowhere does not exist" in nowhere.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny causal language model."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    return save_language_model(folder, "llama", layers=2, longest=64)


def test_a_model_writes_answers_and_queries(
    decant: Decant, speaker: Path, pairs: Path, tmp_path: Path
) -> None:
    asked = ("train", "generate", "--model", speaker, "--max-new-tokens", 6, "--greedy")
    ran = decant(
        *asked, "--texts", pairs, "--columns", "query=question", "--out", "answers.jsonl", "--json"
    )
    assert ran.code == Exit.OK, ran.err
    generated = ran.json["generated"]
    assert isinstance(generated, dict)
    rows = read(tmp_path / "answers.jsonl")
    assert generated == {"rows": len(rows), "empty": 6 - len(rows), "cut": 0}
    assert all(row.query.startswith("what of the") and row.positive for row in rows)
    ran = decant(
        *asked, "--texts", pairs, "--columns", "query=reply", "--out", "queries.jsonl",
        "--as", "query", "--template", "{text}? Ask:",
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    assert "with an empty answer" in ran.out
    assert all("is beside" in (row.positive or "") for row in read(tmp_path / "queries.jsonl"))
    assert not list(tmp_path.glob("*.partial"))


def test_bad_input_of_generating_is_refused_and_leaves_nothing(
    decant: Decant, speaker: Path, bundle: Path, pairs: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    asked = ("train", "generate", "--texts", pairs, "--out", "a.jsonl")
    named = (*asked, "--columns", "query=question")
    cases = {
        (*asked, "--model", speaker, "--columns", "query=topic"): "faq.tsv:1: no column is",
        (*named, "--model", "./nowhere"): "nowhere",
        (*named, "--model", bundle): "tiny",
        (*named, "--model", speaker, "--template", "no slot"): "in place of the text",
        (*named, "--model", speaker, "--as", "answer"): "none of response, query",
        (*named, "--model", speaker, "--out", str(pairs)): "exists; choose another name",
        (*named, "--model", speaker, "--chat"): "has no chat template",
        (*named, "--model", speaker): "lower max_new_tokens",
    }
    for words, message in cases.items():
        ran = decant(*words)
        assert ran.code == Exit.INPUT, words
        assert message in ran.err
        assert sorted(tmp_path.iterdir()) == before, words
