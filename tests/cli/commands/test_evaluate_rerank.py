"""``decant evaluate --rerank``: a reranker beside every mode of search, its gain and its cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit

METRICS = ["nDCG@10", "recall@100", "MRR@10", "MAP@1000"]
WAYS = ["dense", "words", "hybrid", "best search", "reranked"]
TEXTS = {f"d{number}": f"text {number} of the sun {number % 5}" for number in range(30)}


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    corpus = [json.dumps({"_id": key, "text": text}) for key, text in TEXTS.items()]
    queries = [json.dumps({"_id": f"q{at}", "text": f"text {at} sun"}) for at in range(24)]
    (folder / "corpus.jsonl").write_text("\n".join(corpus))
    (folder / "queries.jsonl").write_text("\n".join(queries))
    (folder / "qrels.tsv").write_text("".join(f"q{at}\td{at}\t1\n" for at in range(24)))
    return folder


def test_a_reranker_is_compared_with_the_best_search(
    decant: Decant, tiny_bundle: Path, beir: Path
) -> None:
    asked = ("--retrieval", beir, "--rerank", "hash", "--candidates", 20, "--resamples", 20)
    ran = decant("evaluate", tiny_bundle, *asked, "--output", "out.json")
    assert ran.code == Exit.OK, ran.err
    (system,) = json.loads(Path("out.json").read_text())["systems"]
    found = {one["metric"]: one for one in system["scores"]}
    assert list(found) == [
        *(f"{metric}, {way}" for metric in METRICS for way in WAYS),
        "nDCG@10 gained by reranking",
        "milliseconds per query to rerank 20",
    ]
    before, after = found["nDCG@10, best search"], found["nDCG@10, reranked"]
    modes = [found[f"nDCG@10, {way}"]["value"] for way in WAYS[:3]]
    assert before["value"] >= max(modes) - 1e-9
    assert before["note"], "which search it is"
    gain = found["nDCG@10 gained by reranking"]
    assert gain["value"] == pytest.approx(after["value"] - before["value"])
    assert "better" in gain["note"]
    assert "equal" in gain["note"]
    assert "nDCG@10 gained by reranking" in ran.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sts", "sts.tsv", "--rerank", "hash"], "--rerank searches the sets of --retrieval"),
        (["--retrieval", "made", "--rerank", "nowhere"], "nowhere"),
        (["--retrieval", "made", "--rerank-instruction", "find"], "give --rerank, too"),
        (
            ["--retrieval", "made", "--rerank", "hash", "--rerank-instruction", "find"],
            "takes no instruction",
        ),
        (["--retrieval", "made", "--language", "none"], "of --hybrid and --rerank"),
        (["--retrieval", "made", "--rerank", "hash", "--candidates", "0"], "--candidates"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    decant: Decant, tiny_bundle: Path, beir: Path, options: list[str], message: str
) -> None:
    Path("sts.tsv").write_text("1\ta\tb\n")
    ran = decant("evaluate", tiny_bundle, *options)
    assert ran.code not in (Exit.OK, Exit.FINDING)
    assert message in " ".join(ran.err.split())
