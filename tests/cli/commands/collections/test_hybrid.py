"""A bundle that gives sparse vectors, from indexing to search and evaluation in every mode."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import Decant
from decant.cli.exit_codes import Exit
from decant.cli.input.retrieval_searcher import SearchedRetrieval
from decant.embedders import HashEncoder
from decant.evaluation import Bootstrap, Retrieval, RetrievalSet
from decant.export import export
from decant.integrations.qdrant import Fusion, SearchMode, Words
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
    assert all(score > 0 for score in default)
    assert scores("--mode", "hybrid") == pytest.approx(default)
    dense = scores("--mode", "dense")
    assert all(0.1 < score <= 1.001 for score in dense)
    sparse = scores("--mode", "sparse")
    assert sparse == sorted(sparse, reverse=True)
    assert sparse != pytest.approx(dense)
    shown = indexed("search", splade, QUERY).out
    assert f"  1  {default[0]:.3f}" in shown


def test_a_mode_that_is_not_there_is_wrong_usage(indexed: Decant, splade: Path) -> None:
    ran = indexed("search", splade, QUERY, "--mode", "best")
    assert ran.code == Exit.INPUT
    assert "'best' is none of dense, sparse, words, hybrid" in " ".join(
        ran.err.replace("│", " ").split()
    )


def test_a_bundle_without_sparse_vectors_is_searched_by_dense_ones_alone(
    decant: Decant, tiny_bundle: Path, notes: Path
) -> None:
    assert decant("index", tiny_bundle, notes).code == Exit.OK
    default = decant("search", tiny_bundle, QUERY, "--json").json["hits"]
    assert decant("search", tiny_bundle, QUERY, "--json", "--mode", "dense").json["hits"] == default
    ran = decant("search", tiny_bundle, QUERY, "--mode", "hybrid")
    assert ran.code != Exit.OK
    assert "neither sparse vectors nor an index of words" in " ".join(ran.err.split())


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


def scored(decant: Decant, *given: str | Path) -> list[dict[str, object]]:
    """Return the scores of the only system of an evaluation, as JSON."""
    ran = decant("evaluate", *given, "--output", "out.json")
    assert ran.code == Exit.OK, ran.err
    (system,) = json.loads(Path("out.json").read_text())["systems"]
    return list(system["scores"])


def test_evaluation_gives_every_metric_of_every_mode(
    decant: Decant, splade: Path, beir: Path
) -> None:
    scores = scored(decant, splade, "--retrieval", beir, "--hybrid")
    assert [one["metric"] for one in scores] == [
        f"{metric}, {mode}" for metric in METRICS for mode in SearchMode
    ]
    assert {one["cases"] for one in scores} == {2}
    assert {one["note"] for one in scores} == {"1 of 5 documents not embedded"}


def test_a_bundle_without_sparse_vectors_is_evaluated_by_words_and_vectors(
    decant: Decant, tiny_bundle: Path, beir: Path
) -> None:
    scores = scored(decant, tiny_bundle, "--retrieval", beir, "--hybrid")
    assert [one["metric"] for one in scores] == [
        f"{metric}, {mode}" for metric in METRICS for mode in ("dense", "words", "hybrid")
    ]
    found = {one["metric"]: one["value"] for one in scores}
    assert found["nDCG@10, words"] == 1, "each query shares its words with its document alone"
    assert "nDCG@10, hybrid" in decant("evaluate", tiny_bundle, "--retrieval", beir, "--hybrid").out


def test_bundles_with_and_without_sparse_vectors_are_compared_where_both_have_a_ranking(
    decant: Decant, splade: Path, tiny_bundle: Path, beir: Path
) -> None:
    ran = decant("evaluate", splade, tiny_bundle, "--retrieval", beir, "--hybrid", "--json")
    assert ran.code == Exit.OK, ran.err
    compared = ran.json["comparisons"]
    assert isinstance(compared, list)
    metrics = {one["comparison"]["metric"] for one in compared}
    assert {"nDCG@10, dense", "nDCG@10, words", "nDCG@10, hybrid"} <= metrics
    assert "nDCG@10, sparse" not in metrics


@pytest.mark.parametrize(("language", "found"), [("none", 0), ("english", 1)])
def test_the_language_decides_which_words_are_the_same(
    decant: Decant, tiny_bundle: Path, beir: Path, language: str, found: float
) -> None:
    (beir / "queries.jsonl").write_text('{"_id": "q", "text": "suns"}\n')
    (beir / "qrels.tsv").write_text("q\tsun\t1\n")
    scores = scored(decant, tiny_bundle, "--retrieval", beir, "--hybrid", "--language", language)
    assert {one["metric"]: one["value"] for one in scores}["nDCG@10, words"] == found


def test_what_cannot_be_searched_so_is_wrong_usage(
    decant: Decant, tiny_bundle: Path, beir: Path
) -> None:
    def refused(*options: str | Path) -> str:
        ran = decant("evaluate", *options)
        assert ran.code == Exit.INPUT
        return " ".join(ran.err.replace("│", " ").split())

    given = (tiny_bundle, "--retrieval", beir)
    assert "no language 'klingon'; give 'none'" in refused(
        *given, "--hybrid", "--language", "klingon"
    )
    assert "give --hybrid, too" in refused(*given, "--language", "german")
    Path("sts.tsv").write_text("5\ta\tb\n1\ta\tc\n", encoding="utf-8")
    assert "--hybrid searches the sets" in refused(tiny_bundle, "--sts", "sts.tsv", "--hybrid")
    Path("vectors.txt").write_text("sun 1 0\nsea 0 1\n", encoding="utf-8")
    only = refused("vectors.txt", "--retrieval", beir, "--hybrid")
    assert "which only bundles can fill" in only


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
        for one in SearchedRetrieval(retrieval=task, words=Words()).score(encoder)
    }
    assert len(searched) == 16
    assert searched["recall@100, dense"] == exact["recall@100"] == 1


def test_pages_deeper_than_what_is_fused_at_once_are_scored() -> None:
    random = np.random.default_rng(0)
    documents = {
        f"d{number}": " ".join(random.choice(["red", "blue", "cat", "dog", "sea"], 4))
        for number in range(3 * Fusion().depth)
    }
    data = RetrievalSet(
        name="deep",
        documents=documents,
        queries={"q": "red cat", "none": "the"},
        judgements={"q": {"d0": 1, "d299": 1}, "none": {"d1": 1}},
    )
    task = Retrieval(data=data, bootstrap=Bootstrap(resamples=20))
    measured = SearchedRetrieval(retrieval=task, words=Words()).score(HashEncoder(16))
    scores = {one.score.metric: one.score.value for one in measured}
    assert set(scores) == {
        f"{metric}, {mode}" for metric in METRICS for mode in ("dense", "words", "hybrid")
    }
    assert measured[1].cases.found[1] == 0, "a query without any word finds nothing by words"
