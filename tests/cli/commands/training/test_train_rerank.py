"""``decant train rerank``: from mined pairs to a reranker that exports, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.embedders import ScoreActivation, TorchReranker, load_reranker
from rerank_models import save_causal_reranker, save_pair_encoder

WORDS = ("cat", "hat", "whale", "winter", "heat", "end", "white", "then")
QUICK = ("--batch-size", 4, "--max-steps", 2, "--learning-rate", 0.001, "--out", "tuned")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tiny encoder without a classifier."""
    return save_pair_encoder(tmp_path_factory.mktemp("models") / "encoder")


@pytest.fixture
def mined(tmp_path: Path) -> Path:
    """Return 24 rows, all but one with two negatives."""
    path = tmp_path / "mined.jsonl"
    rows = [
        {
            "query": f"the {one} {number}",
            "positive": f"{number} {one} again",
            "negatives": [f"{number} {WORDS[at - 1]} then", f"{one} in the end"]
            * (at + number > 0),
        }
        for number in range(3)
        for at, one in enumerate(WORDS)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_mined_pairs_become_a_reranker_that_is_measured_before_and_after(
    decant: Decant, encoder: Path, mined: Path, tmp_path: Path
) -> None:
    ran = decant("train", "rerank", "--base", encoder, "--pairs", mined, *QUICK)
    assert ran.code == Exit.OK, ran.err
    for part in ("before", "after", "held out", "ndcg@10", "mrr@10", "2, last loss"):
        assert part in ran.out.lower()
    assert "recall" not in ran.out.lower()
    for part in ("1 rows have no negatives", "with positive", "next: decant export tuned BUNDLE"):
        assert part in " ".join(ran.err.split())
    with TorchReranker.from_pretrained(tmp_path / "tuned") as reranker:
        assert reranker.recipe.activation is ScoreActivation.IDENTITY
    run = json.loads((tmp_path / "tuned/training/run.json").read_text(encoding="utf-8"))
    assert run["settings"] == {"loss": "listwise", "negatives": 7}
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
def test_a_trained_reranker_is_exported_and_teaches_another(
    decant: Decant, encoder: Path, mined: Path, tmp_path: Path
) -> None:
    said = ("train", "rerank", "--base", encoder, "--pairs", mined, *QUICK, "--held-out", 0)
    assert decant(*said, "--loss", "bce", "--activation", "sigmoid").code == Exit.OK
    exported = decant("export", "tuned", "bundle")
    assert exported.code == Exit.OK, exported.err
    with load_reranker(tmp_path / "bundle") as reranker:
        assert reranker.recipe.activation is ScoreActivation.SIGMOID
    ran = decant(
        *said, "--out", "student", "--loss", "distil", "--teacher", "bundle", "--negatives", 1,
        "--json",
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    run = json.loads((tmp_path / "student/training/run.json").read_text(encoding="utf-8"))
    assert run["settings"] == {"loss": "distil", "negatives": 1}
    assert len(run["teacher"]) == 16


def test_a_language_model_is_trained_by_its_label_tokens(
    decant: Decant, mined: Path, tmp_path: Path
) -> None:
    llama = save_causal_reranker(tmp_path / "llama", longest=128)
    ran = decant(
        "train", "rerank", "--base", llama, "--pairs", mined, *QUICK, "--held-out", 0, "--lora", 2,
        "--pair-template", "{query} text {text} in a", "--true-token", "a", "--false-token", "w",
        "--json",
    )  # fmt: skip
    assert ran.code == Exit.OK, ran.err
    assert ran.json["standing"] is None
    with TorchReranker.from_pretrained(tmp_path / "tuned") as reranker:
        assert reranker.recipe.pair.template == "{query} text {text} in a"


BAD = {
    "no negatives": (("--pairs", "plain.tsv"), "no row has negatives"),
    "no such loss": (("--loss", "hinge"), "'hinge' is none of bce, pairwise, listwise, distil"),
    "distillation without a teacher": (("--loss", "distil"), "no teacher_scores, and no teacher"),
    "a teacher of another loss": (("--teacher", "hash"), "leave the teacher out"),
    "a teacher that is not there": (("--loss", "distil", "--teacher", "nowhere"), "nowhere"),
    "a place for vectors' tasks": (("--sts", "plain.tsv"), "--sts"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_with_its_cure_and_leaves_nothing(
    decant: Decant, encoder: Path, mined: Path, tmp_path: Path, name: str
) -> None:
    rows = "".join(f"{one}\t{one} again\n" for one in WORDS)
    (tmp_path / "plain.tsv").write_text(f"query\tpositive\n{rows}", encoding="utf-8")
    words, message = BAD[name]
    given = {"--base": encoder, "--pairs": mined, "--out": "tuned", "--batch-size": 4}
    given |= dict(zip(words[::2], words[1::2], strict=True))
    before = sorted(tmp_path.rglob("*"))
    ran = decant("train", "rerank", *(part for pair in given.items() for part in pair))
    assert ran.code != Exit.OK
    assert message in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
    assert sorted(tmp_path.rglob("*")) == before
