"""Rankings and measures against loops one can read; BEIR folders; a real model's figures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import OnnxEncoder, Role
from decant.evaluation import (
    Bootstrap,
    EvaluationError,
    Retrieval,
    RetrievalSet,
    WrappedModel,
    compare,
    read_beir,
)
from decant.evaluation.scores.exact_search import nearest
from decant.evaluation.tasks.retrieval import ranked
from written_vectors import Partial, Written

FEW = Bootstrap(resamples=20)


def made(
    grades: Mapping[str, Mapping[str, int]], documents: int = 3, queries: int = 2
) -> RetrievalSet:
    return RetrievalSet(
        name="made",
        documents={f"d{number}": f"document {number}" for number in range(documents)},
        queries={f"q{number}": f"query {number}" for number in range(queries)},
        judgements=grades,
    )


@given(
    scores=st.lists(st.lists(st.integers(-2, 2), min_size=7, max_size=7), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 7), max_size=3),
    depth=st.integers(1, 9),
)
def test_the_nearest_rows_are_those_of_a_full_sort_however_blocks_are_cut(
    scores: list[list[int]], cuts: list[int], depth: int
) -> None:
    # With unit axes as queries, a row's coordinates are its scores.
    width = len(scores)
    rows = np.array(scores, np.float32).T  # (7, width)
    edges = [0, *sorted(cuts), 7]
    blocks = [rows[start:end] for start, end in pairwise(edges)]
    numbers, found = nearest(np.eye(width, dtype=np.float32), blocks, depth=depth)
    for query in range(width):
        expected = sorted(range(7), key=lambda row: (-scores[query][row], row))[:depth]
        assert numbers[query].tolist() == expected
        assert found[query].tolist() == [scores[query][row] for row in expected]


def naive_measures(ranking: list[str], grades: Mapping[str, int]) -> tuple[float, ...]:
    """nDCG@10, recall@100, reciprocal rank @10 and average precision of one query."""
    relevant = {document: grade for document, grade in grades.items() if grade > 0}
    gains = [
        relevant.get(document, 0) / math.log2(place + 2) for place, document in enumerate(ranking)
    ]
    ideal = sorted(relevant.values(), reverse=True)
    best = sum(grade / math.log2(place + 2) for place, grade in enumerate(ideal[:10]))
    recall = sum(document in relevant for document in ranking[:100]) / len(relevant)
    reciprocal, hits, precision = 0.0, 0, 0.0
    for place, document in enumerate(ranking, start=1):
        if document in relevant:
            hits += 1
            precision += hits / place
            if place <= 10 and not reciprocal:
                reciprocal = 1 / place
    return sum(gains[:10]) / best, recall, reciprocal, precision / len(relevant)


@given(st.data())
def test_measures_are_those_of_a_loop(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 130))
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    asked = {f"q{number}" for number in range(3)}
    grades = {
        query: {f"d{document}": int(random.integers(-1, 4)) for document in range(count)}
        for query in sorted(asked)
    }
    grades["q0"]["d0"] = 2
    task = Retrieval(data=made(grades, count, 3), bootstrap=FEW)
    vectors = {text: random.normal(size=8) for text in task.data.documents.values()}
    vectors |= {text: random.normal(size=8) for text in task.data.queries.values()}
    embedder = Written(vectors)
    found = task.score(embedder)
    answerable = [query for query in grades if any(grade > 0 for grade in grades[query].values())]
    run = ranked(task.data, answerable, embedder, depth=1000)
    expected = np.mean([naive_measures(run[query], grades[query]) for query in answerable], axis=0)
    np.testing.assert_allclose([one.score.value for one in found], expected, atol=1e-7)
    assert [one.score.metric for one in found] == ["nDCG@10", "recall@100", "MRR@10", "MAP@1000"]
    assert found[0].score.cases == len(answerable)


def test_equal_documents_rank_in_the_order_of_the_corpus() -> None:
    data = made({"q0": {"d2": 1}})
    same = Written(dict.fromkeys([*data.documents.values(), "query 0"], (1.0, 1.0)))
    assert ranked(data, ["q0"], same, depth=100) == {"q0": ["d0", "d1", "d2"]}
    reciprocal = Retrieval(data=data, bootstrap=FEW).score(same)[2]
    assert reciprocal.score.value == pytest.approx(1 / 3)


def test_queries_and_documents_get_their_own_roles_and_only_judged_queries_are_asked() -> None:
    data = made({"q1": {"d0": 1}})
    random = np.random.default_rng(0)
    texts = [*data.documents.values(), *data.queries.values()]
    embedder = Written({text: random.normal(size=3) for text in texts})
    Retrieval(data=data, bootstrap=FEW).score(embedder)
    assert ("query 1", Role.QUERY) in embedder.asked
    assert {role for text, role in embedder.asked if text.startswith("doc")} == {Role.PASSAGE}
    assert "query 0" not in {text for text, _ in embedder.asked}


def test_a_query_without_a_relevant_document_lowers_the_coverage_and_not_the_score() -> None:
    data = made({"q0": {"d0": 1}, "q1": {"d1": 0}})
    embedder = Written(
        {"query 0": (1, 0), "document 0": (1, 0), "document 1": (0, 1), "document 2": (-1, 0)}
    )
    for found in Retrieval(data=data, bootstrap=FEW).score(embedder):
        assert (found.score.value, found.score.cases, found.score.coverage) == (1.0, 1, 0.5)


def test_a_relevant_document_that_cannot_be_embedded_counts_as_missed() -> None:
    data = made({"q0": {"d0": 1, "d1": 1}})
    embedder = Partial({"query 0": (1, 0), "document 0": (1, 0), "document 2": (0, 1)})
    _, recall, reciprocal, _ = Retrieval(data=data, bootstrap=FEW).score(embedder)
    assert recall.score.value == 0.5
    assert reciprocal.score.value == 1.0


def test_nothing_to_embed_is_an_error() -> None:
    data = made({"q0": {"d0": 1}})
    with pytest.raises(EvaluationError, match="none of the 1 queries"):
        Retrieval(data=data).score(Partial({"document 0": (1, 0)}))
    with pytest.raises(EvaluationError, match="none of the 3 documents"):
        Retrieval(data=data).score(Partial({"query 0": (1, 0)}))


def test_a_depth_that_cuts_recall_at_100_is_refused() -> None:
    with pytest.raises(EvaluationError, match="depth must be at least 100"):
        Retrieval(data=made({"q0": {"d0": 1}}), depth=99)


@pytest.mark.parametrize(
    ("grades", "complaint"),
    [
        ({"q9": {"d0": 1}, "q0": {"d0": 1}}, "the judgements name 'q9', which are no queries"),
        ({"q0": {"d0": 1, "d8": 1, "d9": 0}}, "the judgements name 'd8', 'd9', which are no doc"),
        ({"q0": {"d0": 0, "d1": -1}}, "no query has a relevant document"),
        ({}, "no query has a relevant document"),
    ],
)
def test_judgements_that_do_not_fit_the_set_are_refused(
    grades: dict[str, dict[str, int]], complaint: str
) -> None:
    with pytest.raises(EvaluationError, match=complaint):
        made(grades)


def test_empty_sets_are_refused() -> None:
    with pytest.raises(EvaluationError, match="there are no documents"):
        made({"q0": {"d0": 1}}, documents=0)
    with pytest.raises(EvaluationError, match="there are no queries"):
        made({"q0": {"d0": 1}}, queries=0)


def beir(folder: Path, **replaced: str) -> Path:
    """Write a small set; arguments replace whole files, named without their ending."""
    rows = {
        "corpus": [{"_id": "a", "title": "T", "text": "x"}, {"_id": "b", "text": "y"}],
        "queries": [{"_id": "q", "text": "z"}, {"_id": "r", "text": "other split"}],
    }
    for name, lines in rows.items():
        content = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(replaced.get(name, content), encoding="utf-8")
    judged = replaced.get("qrels", "query-id\tcorpus-id\tscore\nq\ta\t2\nq\tb\t0\n")
    (folder / "qrels.tsv").write_text(judged, encoding="utf-8")
    return folder


def test_a_beir_folder_is_read_with_titles_before_texts(tmp_path: Path) -> None:
    found = read_beir(beir(tmp_path))
    assert found.documents == {"a": "T x", "b": "y"}
    assert found.queries == {"q": "z", "r": "other split"}
    assert found.judgements == {"q": {"a": 2, "b": 0}}
    assert found.relevant("q") == {"a": 2}
    assert found.name == tmp_path.name


def test_judgements_may_lie_where_beirs_archives_have_them(tmp_path: Path) -> None:
    folder = beir(tmp_path)
    (folder / "qrels").mkdir()
    (folder / "qrels.tsv").rename(folder / "qrels" / "test.tsv")
    assert read_beir(folder, name="set").judgements == {"q": {"a": 2, "b": 0}}


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("corpus", '{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}\n', "jsonl:2: the id 'a'"),
        ("corpus", '{"_id": 1, "text": "x"}\n', "jsonl:1: _id, text and title must be strings"),
        ("corpus", '{"_id": "a"}\n', "jsonl:1: _id, text and title must be strings"),
        ("corpus", "[]\n", "jsonl:1: not a JSON object"),
        ("corpus", "{\n", "jsonl:1: not JSON"),
        ("corpus", "\n", "there are no documents"),
        ("queries", "", "there are no queries"),
        ("qrels", "q\ta\n", "qrels.tsv:1: 2 columns"),
        ("qrels", "q\ta\t1\nq\ta\t1\n", "qrels.tsv:2: 'q' and 'a' are judged a second time"),
        ("qrels", "q\ta\t1.5\n", "qrels.tsv:1: the grade '1.5' is not a whole number"),
        ("qrels", "q\tlost\t1\n", "the judgements name 'lost', which are no documents"),
        ("qrels", "s\ta\t1\n", "the judgements name 's', which are no queries"),
        ("qrels", "query-id\tcorpus-id\tscore\n", "there are no judgements"),
    ],
)
def test_a_malformed_folder_is_refused(
    tmp_path: Path, file: str, content: str, complaint: str
) -> None:
    with pytest.raises(EvaluationError, match=complaint):
        read_beir(beir(tmp_path, **{file: content}))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"corpus\.jsonl"):
        read_beir(tmp_path)


@pytest.mark.slow
def test_cranfield_of_minilm_is_what_the_benchmarks_report(minilm: OnnxEncoder, data: Path) -> None:
    task = Retrieval(data=read_beir(data / "retrieval" / "cranfield"), bootstrap=FEW)
    ndcg = task.score(minilm)[0].score
    assert ndcg.cases == 225
    assert ndcg.value == pytest.approx(0.398, abs=0.0005)  # BM25 reaches 0.347


@pytest.mark.slow
def test_adi_scores_like_sentence_transformers_evaluator(minilm_peer: Any, data: Path) -> None:
    from sentence_transformers.sentence_transformer.evaluation import (
        InformationRetrievalEvaluator,
    )

    adi = read_beir(data / "retrieval" / "adi")
    evaluator = InformationRetrievalEvaluator(
        dict(adi.queries),
        dict(adi.documents),
        {query: set(adi.relevant(query)) for query in adi.judgements},
        mrr_at_k=[10],
        ndcg_at_k=[10],
        map_at_k=[100],
        precision_recall_at_k=[100],
        show_progress_bar=False,
    )
    theirs = evaluator(minilm_peer)
    ours = Retrieval(data=adi, depth=100, bootstrap=FEW).score(WrappedModel(minilm_peer))
    expected = [theirs[f"cosine_{name}"] for name in ("ndcg@10", "recall@100", "mrr@10", "map@100")]
    np.testing.assert_allclose([one.score.value for one in ours], expected, atol=0.0005)


def test_two_encoders_are_compared_query_by_query() -> None:
    data = made({f"q{number}": {f"d{number}": 1} for number in range(30)}, 30, 30)
    axes = np.eye(30)
    right = {f"document {number}": axes[number] for number in range(30)}
    right |= {f"query {number}": axes[number] for number in range(30)}
    # Every third query points at its neighbour's document.
    wrong = right | {f"query {number}": axes[number + 1] for number in range(0, 30, 3)}
    task = Retrieval(data=data)
    first, second = (task.score(Written(vectors))[2] for vectors in (wrong, right))
    found = compare(first, second)
    assert found.cases == 30
    assert found.second == 1.0
    assert found.difference.value == pytest.approx(1 - first.score.value)
    assert found.difference.low > 0
    assert found.difference.p_value is not None
    assert found.difference.p_value < 0.05
