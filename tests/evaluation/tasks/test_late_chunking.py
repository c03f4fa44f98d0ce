"""Late chunks and paragraphs alone, against loops over states and cosines taken by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import Choices, HashEncoder, PooledTokens, Role, TorchEncoder
from decant.evaluation import (
    Bootstrap,
    EvaluationError,
    LateChunking,
    RetrievalSet,
    consecutive,
)
from models import save_language_model
from naive_strategies import Naive

FEW = Bootstrap(resamples=20)
PARAGRAPHS = {
    "a": "what the wind wants",
    "b": "the ferry leaves at seven",
    "c": "it returns at nine",
    "d": "the hill is white",
    "e": "what the wind wants",
    "f": "snow falls on it",
}
QUERIES = {"q": "when does the ferry leave", "r": "where is snow", "s": "what wants the wind"}
DATA = RetrievalSet(
    name="six",
    documents=PARAGRAPHS,
    queries=QUERIES,
    judgements={"q": {"b": 1, "c": 2}, "r": {"f": 1, "d": 1}, "s": {"e": 1}},
)
ARTICLES = (("a", "b", "c"), ("d", "e", "f"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language_model(tmp_path_factory.mktemp("late") / "model", "llama", layers=2)


@pytest.fixture
def encoder(folder: Path) -> Iterator[TorchEncoder]:
    with TorchEncoder.from_pretrained(folder, strategy="late-interaction") as made:
        yield made


def naive_chunk(naive: Naive, before: str, paragraph: str, after: str) -> np.ndarray:
    """The mean of the states of a paragraph's tokens, with what stands around it read too."""
    encoding = naive.tokenizer.encode(before + paragraph + after)
    states = naive.states(encoding.ids)[-1]
    begin, end = len(before), len(before) + len(paragraph)
    held = [
        state
        for state, (first, last) in zip(states, encoding.offsets, strict=True)
        if first < end and last > begin
    ]
    mean = torch.stack(held).mean(0).numpy()
    return np.asarray(mean / np.linalg.norm(mean))


def naive_ndcg(ranking: list[str], grades: dict[str, int]) -> float:
    gains = [grades.get(key, 0) / math.log2(place + 2) for place, key in enumerate(ranking)]
    ideal = sorted(grades.values(), reverse=True)
    return sum(gains) / sum(gain / math.log2(place + 2) for place, gain in enumerate(ideal))


def test_both_ways_rank_as_loops_do(encoder: TorchEncoder, folder: Path) -> None:
    task = LateChunking(data=DATA, articles=ARTICLES, bootstrap=FEW)
    naive = Naive(folder)
    late = {
        key: naive_chunk(
            naive,
            "".join(PARAGRAPHS[one] + "\n\n" for one in article[:place]),
            PARAGRAPHS[key],
            "".join("\n\n" + PARAGRAPHS[one] for one in article[place + 1 :]),
        )
        for article in ARTICLES
        for place, key in enumerate(article)
    }
    alone = {
        key: encoder.encode([text], role=Role.PASSAGE).dense[0] for key, text in PARAGRAPHS.items()
    }
    found = task.both(encoder)
    for vectors, measured in ((alone, found.alone), (late, found.late)):
        values = []
        for query, text in QUERIES.items():
            asked = encoder.encode([text], role=Role.QUERY).dense[0]
            near = {key: -float(np.round(asked @ vector, 6)) for key, vector in vectors.items()}
            values.append(naive_ndcg(sorted(near, key=near.__getitem__), DATA.relevant(query)))
        ndcg, recall = measured
        np.testing.assert_allclose(ndcg.cases.found, values, atol=1e-6)
        assert ndcg.score.value == pytest.approx(np.mean(values))
        assert (recall.score.metric, recall.score.value) == ("recall@100", 1.0)
        assert (ndcg.score.cases, ndcg.score.coverage, ndcg.score.note) == (3, 1.0, "")


def test_scores_name_the_way_and_comparisons_are_paired(encoder: TorchEncoder) -> None:
    task = LateChunking(data=DATA, articles=ARTICLES, bootstrap=FEW)
    assert [(one.score.name, one.score.metric) for one in task.score(encoder)] == [
        ("six: late chunking", "nDCG@10, paragraphs alone"),
        ("six: late chunking", "recall@100, paragraphs alone"),
        ("six: late chunking", "nDCG@10, late chunks"),
        ("six: late chunking", "recall@100, late chunks"),
    ]
    both = task.both(encoder)
    ndcg, recall = both.comparisons()
    assert (ndcg.metric, recall.metric) == ("nDCG@10", "recall@100")
    assert ndcg.first == both.alone[0].score.value
    assert ndcg.difference.value == pytest.approx(
        np.mean(both.late[0].cases.found - both.alone[0].cases.found)
    )
    assert (ndcg.cases, recall.difference.value) == (3, 0.0)


def test_an_article_of_one_paragraph_is_that_paragraph_alone(folder: Path) -> None:
    # Special tokens are in the mean of a text and in no chunk, so they are left out here; and no
    # two paragraphs are equal, whose order would be rounding.
    data = replace(DATA, documents={**PARAGRAPHS, "e": "the wind wants what"})
    with TorchEncoder.from_pretrained(
        folder, strategy="late-interaction", choices=Choices(span=PooledTokens.CONTENT)
    ) as encoder:
        both = LateChunking(data=data, articles=consecutive(data, 1), bootstrap=FEW).both(encoder)
    np.testing.assert_allclose(both.alone[0].cases.found, both.late[0].cases.found)


def test_paragraphs_that_are_too_long_leave_both_ways_and_their_queries(folder: Path) -> None:
    long = {**PARAGRAPHS, "b": "the ferry leaves at seven " * 20, "f": " "}
    data = RetrievalSet(
        name="six", documents=long, queries=QUERIES, judgements=dict(DATA.judgements)
    )
    with TorchEncoder.from_pretrained(
        folder, strategy="late-interaction", choices=Choices(max_tokens=60)
    ) as encoder:
        both = LateChunking(data=data, articles=ARTICLES, bootstrap=FEW).both(encoder)
        for one in (*both.alone, *both.late):
            assert (one.score.cases, one.score.coverage) == (1, 1 / 3)
            assert one.score.note == "2 of 6 paragraphs too long or blank"
            assert one.cases.covered.tolist() == [False, False, True]
        nothing = RetrievalSet(
            name="long",
            documents={"b": long["b"]},
            queries={"q": "x"},
            judgements={"q": {"b": 1}},
        )
        with pytest.raises(EvaluationError, match="none of the 1 paragraphs fits the"):
            LateChunking(data=nothing, articles=(("b",),)).both(encoder)


def test_embedders_without_vectors_of_parts_are_refused() -> None:
    task = LateChunking(data=DATA, articles=ARTICLES, bootstrap=FEW)
    with pytest.raises(
        EvaluationError, match=r"six: late chunking: .* exported with token_embeddings=True"
    ):
        task.score(HashEncoder(dim=16))


@pytest.mark.parametrize(
    ("articles", "complaint"),
    [
        ((("a", "b"), ("d", "e", "f")), "1 documents are in no article, the first is 'c'"),
        ((*ARTICLES, ("a",)), "'a' stands in articles twice"),
        ((*ARTICLES, ("g",)), "the paragraph 'g', which is no document"),
    ],
)
def test_articles_hold_every_paragraph_once(
    articles: tuple[tuple[str, ...], ...], complaint: str
) -> None:
    with pytest.raises(EvaluationError, match=complaint):
        LateChunking(data=DATA, articles=articles)
    with pytest.raises(EvaluationError, match="depth must be at least 100"):
        LateChunking(data=DATA, articles=ARTICLES, depth=10)


@given(total=st.integers(1, 30), count=st.integers(1, 12))
def test_consecutive_articles_are_the_corpus_cut(total: int, count: int) -> None:
    data = RetrievalSet(
        name="n",
        documents={f"d{number}": "x" for number in range(total)},
        queries={"q": "y"},
        judgements={"q": {"d0": 1}},
    )
    articles = consecutive(data, count)
    assert [key for article in articles for key in article] == list(data.documents)
    assert all(len(article) == count for article in articles[:-1])
    assert 1 <= len(articles[-1]) <= count
    LateChunking(data=data, articles=articles)
    with pytest.raises(EvaluationError, match="got 0"):
        consecutive(data, 0)
