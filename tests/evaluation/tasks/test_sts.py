"""Files of scored pairs, both aggregations, coverage, and figures of a real model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decant.embedders import HashEncoder, OnnxEncoder, Role
from decant.evaluation import (
    Bootstrap,
    EvaluationError,
    ScoredPairs,
    Sts,
    WrappedModel,
    compare,
    read_sts,
    sts_task,
)
from written_vectors import Partial, Written


def at(degrees: float) -> tuple[float, float]:
    return float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))


FEW = Bootstrap(resamples=50)

EAST = Written({"east": (1, 0), "near": at(10), "far": at(80), "west": (-2, 0), "up": (0, 5)})
PAIRS = ScoredPairs(
    name="turns",
    scores=(4.0, 3.0, 2.5, 0.0),
    first=("east",) * 4,
    second=("near", "far", "up", "west"),
)


def test_pairs_in_human_order_score_one_whatever_the_lengths_of_vectors() -> None:
    (found,) = Sts(name="turns", sets=(PAIRS,), bootstrap=FEW).score(EAST)
    assert found.score.value == pytest.approx(1.0)
    assert found.score.metric == "cosine Spearman"
    assert (found.score.cases, found.score.coverage) == (4, 1.0)
    expected = [np.cos(np.radians(turn)) for turn in (10, 80, 90, 180)]
    np.testing.assert_allclose(found.cases.found, expected, atol=1e-6)


def test_each_text_is_embedded_once_and_with_the_role_asked_for() -> None:
    embedder = Written(EAST.vectors)
    Sts(name="turns", sets=(PAIRS,), role=Role.PASSAGE).score(embedder)
    assert sorted(embedder.asked) == sorted((text, Role.PASSAGE) for text in EAST.vectors)


def test_pairs_with_unknown_texts_are_left_out_and_lower_the_coverage() -> None:
    vectors = {text: vector for text, vector in EAST.vectors.items() if text != "far"}
    (found,) = Sts(name="turns", sets=(PAIRS,), bootstrap=FEW).score(Partial(vectors))
    assert (found.score.cases, found.score.coverage) == (3, 0.75)
    assert found.cases.covered.tolist() == [True, False, True, True]


def test_an_embedder_that_knows_nothing_is_told_so() -> None:
    with pytest.raises(EvaluationError, match="none of the 4 cases can be embedded"):
        Sts(name="turns", sets=(PAIRS,), bootstrap=FEW).score(Partial({}))


def test_a_subset_without_a_covered_pair_does_not_vanish_from_the_mean() -> None:
    other = ScoredPairs(name="b", scores=(1.0, 2.0), first=("x", "x"), second=("y", "z"))
    with pytest.raises(EvaluationError, match="nothing can be embedded of b; leave that set out"):
        Sts(name="two", sets=(PAIRS, other)).score(Partial(EAST.vectors))


def test_several_sets_give_both_aggregations_and_their_labels() -> None:
    reverse = ScoredPairs(
        name="b", scores=tuple(-s for s in PAIRS.scores), first=PAIRS.first, second=PAIRS.second
    )
    mean, together, *each = Sts(name="both", sets=(PAIRS, reverse), bootstrap=FEW).score(EAST)
    assert mean.score.metric == "cosine Spearman, mean of 2 sets"
    assert mean.score.value == pytest.approx(0.0)
    assert together.score.metric == "cosine Spearman, all pairs together"
    assert together.score.cases == 8
    assert [one.score.value for one in each] == pytest.approx([1.0, -1.0])
    assert [one.score.metric for one in each] == [
        "cosine Spearman, turns",
        "cosine Spearman, b",
    ]


def test_a_constant_embedder_is_an_error_and_not_a_zero() -> None:
    same = Written(dict.fromkeys(EAST.vectors, (1.0, 0.0)))
    with pytest.raises(EvaluationError, match=r"turns, cosine Spearman: all 4 values are 1\.0"):
        Sts(name="turns", sets=(PAIRS,), bootstrap=FEW).score(same)


@pytest.mark.parametrize("vector", [(0.0, 0.0), (np.nan, 1.0), (np.inf, 1.0), (3e38, 3e38)])
def test_a_vector_without_direction_is_an_error(vector: tuple[float, float]) -> None:
    broken = Written({**{t: tuple(v) for t, v in EAST.vectors.items()}, "far": vector})
    with pytest.raises(EvaluationError, match="1 of 5 vectors have no direction"):
        Sts(name="turns", sets=(PAIRS,), bootstrap=FEW).score(broken)


def test_a_file_is_read_with_its_other_separators_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "set.tsv"
    file.write_bytes("\ufeff1.5\ta\u2028b\tc\r\n\n-2\td \te\x85f\n".encode())
    found = read_sts(file)
    assert found == ScoredPairs(
        name="set", scores=(1.5, -2.0), first=("a\u2028b", "d "), second=("c", "e\x85f")
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "there are no pairs"),
        (b"1\ta\n", "set.tsv:1: 2 columns"),
        (b"1\ta\tb\n2\ta\tb\tc\n", "set.tsv:2: 4 columns"),
        (b"high\ta\tb\n", "set.tsv:1: 'high' is not a finite number"),
        (b"nan\ta\tb\n", "set.tsv:1: 'nan' is not a finite number"),
        (b"1\t \tb\n", "set.tsv:1: a text is empty"),
        (b"1\t\xff\tb\n", "not UTF-8"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    file = tmp_path / "set.tsv"
    file.write_bytes(content)
    with pytest.raises(EvaluationError, match=complaint):
        read_sts(file)


def test_two_encoders_are_compared_over_the_pairs_that_both_know() -> None:
    task = Sts(name="turns", sets=(PAIRS,), bootstrap=FEW)
    known = {text: vector for text, vector in EAST.vectors.items() if text != "far"}
    compared = compare(task.score(Partial(known))[0], task.score(EAST)[0])
    assert compared.cases == 3
    assert compared.first == compared.second == pytest.approx(1.0)
    assert compared.difference.value == 0.0


def test_measurements_of_different_data_are_not_compared() -> None:
    other = ScoredPairs(
        name="turns", scores=(4.0, 3.0, 2.0, 1.0), first=PAIRS.first, second=PAIRS.second
    )
    first = Sts(name="turns", sets=(PAIRS,), bootstrap=FEW).score(EAST)[0]
    second = Sts(name="turns", sets=(other,)).score(EAST)[0]
    renamed = Sts(name="other", sets=(PAIRS,)).score(EAST)[0]
    with pytest.raises(EvaluationError, match="scored on different data"):
        compare(first, second)
    with pytest.raises(EvaluationError, match="cannot compare turns"):
        compare(first, renamed)


def test_a_task_without_sets_or_with_uneven_lists_is_refused() -> None:
    with pytest.raises(EvaluationError, match="there are no sets"):
        Sts(name="none", sets=())
    with pytest.raises(EvaluationError, match="2 scores for 1 and 2 texts"):
        ScoredPairs(name="uneven", scores=(1.0, 2.0), first=("a",), second=("b", "c"))


@pytest.mark.slow
def test_minilm_scores_on_stsb_dev_what_its_reports_say(minilm: OnnxEncoder, data: Path) -> None:
    (found,) = sts_task([data / "sts" / "stsb_en.dev.tsv"]).score(minilm)
    assert found.score.value == pytest.approx(0.8672, abs=0.0005)
    assert found.score.low < found.score.value < found.score.high
    assert found.score.cases == 1500


@pytest.mark.slow
def test_minilm_scores_like_sentence_transformers_evaluator(minilm_peer: Any, data: Path) -> None:
    from sentence_transformers.sentence_transformer.evaluation import (
        EmbeddingSimilarityEvaluator,
    )

    pairs = read_sts(data / "sts" / "sick_r.trial.tsv")
    pairs = replace(
        pairs, scores=pairs.scores[:60], first=pairs.first[:60], second=pairs.second[:60]
    )
    evaluator = EmbeddingSimilarityEvaluator(
        list(pairs.first), list(pairs.second), list(pairs.scores), main_similarity="cosine"
    )
    theirs = evaluator(minilm_peer)["spearman_cosine"]
    (ours,) = Sts(name="sick", sets=(pairs,), bootstrap=Bootstrap(resamples=10)).score(
        WrappedModel(minilm_peer)
    )
    assert ours.score.value == pytest.approx(theirs, abs=0.0005)


def test_a_hash_encoder_stands_in_the_same_table(data: Path) -> None:
    (found,) = sts_task([data / "sts" / "stsb_en.dev.tsv"], name="sts").score(HashEncoder(dim=256))
    assert 0.3 < found.score.value < 0.8
