"""A bundle that gives sparse vectors, from indexing to search and evaluation in every mode."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.cli.input.retrieval_searcher import SearchedRetrieval
from decant.embedders import HashEncoder
from decant.evaluation import Bootstrap, EvaluationError, Retrieval, RetrievalSet
from decant.export import export
from decant.integrations.qdrant import SearchMode
from models import save_language_model

QUERY = "when does the ferry leave"
METRICS = ["nDCG@10", "recall@100", "MRR@10", "MAP@1000"]


@pytest.fixture(scope="module")
def splade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bundle of a seeded two-layer BERT with its language-model head."""
    folder = tmp_path_factory.mktemp("splade")
    save_language_model(folder / "model", "bert")
    export(folder / "model", folder / "splade", strategy="splade")
    return folder / "splade"


@pytest.fixture
def indexed(decant: Decant, splade: Path, notes: Path) -> Decant:
    """Return the command, in a folder where ``notes`` is indexed."""
    ran = decant("index", splade, notes)
    assert ran.code == Exit.OK, ran.err
    return decant


def test_every_mode_can_be_asked_for_and_hybrid_is_the_default(
    indexed: Decant, splade: Path
) -> None:
    def scores(*options: str) -> list[float]:
        found = indexed("search", splade, QUERY, "--json", *options).json["hits"]
        assert isinstance(found, list)
        return [hit["score"] for hit in found]

    default = scores()
    assert len(default) == 3
    assert all(0.033 > score > 1 / 64 for score in default)
    assert scores("--mode", "hybrid") == pytest.approx(default)
    dense = scores("--mode", "dense")
    assert all(0.1 < score <= 1.001 for score in dense)
    sparse = scores("--mode", "sparse")
    assert sparse == sorted(sparse, reverse=True)
    assert sparse != pytest.approx(dense)
    shown = indexed("search", splade, QUERY).out
    assert f"  1  {default[0]:.4f}" in shown


def test_a_mode_that_is_not_there_is_wrong_usage(indexed: Decant, splade: Path) -> None:
    ran = indexed("search", splade, QUERY, "--mode", "best")
    assert ran.code == Exit.INPUT
    assert "'best' is none of dense, sparse, hybrid" in " ".join(ran.err.replace("│", " ").split())


def test_a_bundle_without_sparse_vectors_is_searched_by_dense_ones_alone(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    assert decant("index", tiny_bundle, notes).code == Exit.OK
    default = decant("search", tiny_bundle, QUERY, "--json").json["hits"]
    assert decant("search", tiny_bundle, QUERY, "--json", "--mode", "dense").json["hits"] == default
    ran = decant("search", tiny_bundle, QUERY, "--mode", "hybrid")
    assert ran.code != Exit.OK
    assert "has no sparse vectors" in " ".join(ran.err.split())


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """Return a retrieval set of five documents, one of them blank, and two queries."""
    folder = tmp_path / "beir"
    folder.mkdir()
    texts = {"sun": "the sun is hot", "sea": "the sea is wet", "oak": "an oak is a tree"}
    rows = [
        {"_id": key, "text": text} for key, text in {**texts, "one": "one", "blank": " "}.items()
    ]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "queries.jsonl").write_text(
        '{"_id": "q", "text": "hot sun"}\n{"_id": "r", "text": "a tree"}\n'
    )
    (folder / "qrels.tsv").write_text("q\tsun\t1\nr\toak\t1\n")
    return folder


def test_evaluation_gives_every_metric_of_every_mode(
    decant: Decant, splade: Path, beir: Path
) -> None:
    ran = decant("evaluate", splade, "--retrieval", beir, "--hybrid", "--output", "out.json")
    assert ran.code == Exit.OK, ran.err
    assert "nDCG@10, hybrid" in ran.out
    (system,) = json.loads(Path("out.json").read_text())["systems"]
    metrics = [one["metric"] for one in system["scores"]]
    assert metrics == [f"{metric}, {mode}" for metric in METRICS for mode in SearchMode]
    assert {one["cases"] for one in system["scores"]} == {2}
    assert {one["note"] for one in system["scores"]} == {"1 of 5 documents not embedded"}


def test_evaluating_a_bundle_without_sparse_vectors_says_what_is_missing(
    decant: Decant, tiny_bundle: Path, beir: Path
) -> None:
    ran = decant("evaluate", tiny_bundle, "--retrieval", beir, "--hybrid")
    assert ran.code == Exit.INPUT
    assert "--hybrid is for bundles whose recipe has a sparse head" in " ".join(ran.err.split())
    Path("sts.tsv").write_text("5\ta\tb\n1\ta\tc\n", encoding="utf-8")
    lone = decant("evaluate", tiny_bundle, "--sts", "sts.tsv", "--hybrid")
    assert lone.code == Exit.INPUT
    assert "--hybrid searches the sets" in " ".join(lone.err.replace("│", " ").split())


def test_dense_search_in_an_index_scores_as_an_exact_ranking_does() -> None:
    words = ["red", "blue", "green", "cat", "dog", "sea"]
    documents = {
        f"{one}-{two}": f"the {one} and the {two}" for one in words for two in words if one != two
    }
    data = RetrievalSet(
        name="made",
        documents=documents,
        queries={"q": "red cat", "r": "the green sea"},
        judgements={"q": {"red-cat": 2, "cat-dog": 1}, "r": {"sea-green": 1}},
    )
    task = Retrieval(data=data, bootstrap=Bootstrap(resamples=20))
    encoder = HashEncoder(256, sparse=True)
    exact = {one.score.metric: one.score.value for one in task.score(encoder)}
    searched = {
        one.score.metric: one.score.value
        for one in SearchedRetrieval(retrieval=task).score(encoder)
    }
    assert len(searched) == 12
    assert searched["recall@100, dense"] == exact["recall@100"] == 1
    with pytest.raises(EvaluationError, match="no sparse vectors to search with"):
        SearchedRetrieval(retrieval=task).score(HashEncoder())
