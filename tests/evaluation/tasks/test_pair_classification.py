"""Pair classification against every possible threshold, and its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from decant.evaluation import (
    Bootstrap,
    EvaluationError,
    LabelledPairs,
    PairClassification,
    WrappedModel,
    best_accuracy,
    best_f1,
    read_labelled_pairs,
)
from decant.evaluation.tasks.pair_classification import average_precision_statistic
from written_vectors import Partial

CASES = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=14)


@given(CASES)
def test_best_cuts_are_the_best_of_all_cuts(cases: list[tuple[bool, int]]) -> None:
    assume(any(label for label, _ in cases))
    truth = np.array([float(label) for label, _ in cases])
    found = np.array([value / 5 for _, value in cases])
    accuracies, f1s = [], []
    for cut in [*np.unique(found), 2.0]:
        said = found >= cut
        hits = np.count_nonzero(said & (truth == 1))
        accuracies.append(np.mean(said == (truth == 1)))
        f1s.append(2 * hits / (np.count_nonzero(said) + truth.sum()))
    for best, expected in ((best_accuracy, accuracies), (best_f1, f1s)):
        answer = best(truth, found)
        assert answer.value == pytest.approx(max(expected))
    said = found >= best_accuracy(truth, found).at
    assert np.mean(said == (truth == 1)) == pytest.approx(max(accuracies))


@given(CASES)
def test_average_precision_is_the_mean_over_positives_of_the_precision_at_their_cosine(
    cases: list[tuple[bool, int]],
) -> None:
    assume(any(label for label, _ in cases))
    truth = np.array([float(label) for label, _ in cases])
    found = np.array([float(value) for _, value in cases])
    precisions = [truth[found >= value].mean() for value in found[truth == 1]]
    answer = average_precision_statistic(truth, found, np.zeros(len(truth), np.intp))
    assert answer == pytest.approx(np.mean(precisions))


FEW = Bootstrap(resamples=50)

DATA = LabelledPairs(
    name="turns",
    labels=(True, False, True, False),
    first=("east",) * 4,
    second=("near", "west", "far", "up"),
)
VECTORS = {"east": (1, 0), "near": (1, 0.1), "far": (1, 3), "up": (0, 1), "west": (-1, 0)}


def test_pairs_that_a_cosine_tells_apart_score_one_in_everything() -> None:
    found = PairClassification(data=DATA, bootstrap=FEW).score(Partial(VECTORS))
    metrics = ["average precision", "best accuracy", "best F1"]
    assert [one.score.metric for one in found] == metrics
    assert [one.score.value for one in found] == [1.0, 1.0, 1.0]
    cut = best_accuracy(found[1].cases.truth, found[1].cases.found)
    assert 0 < cut.at < 1 / np.sqrt(10)


def test_unknown_texts_lower_the_coverage() -> None:
    known = {word: vector for word, vector in VECTORS.items() if word != "up"}
    found = PairClassification(data=DATA, bootstrap=FEW).score(Partial(known))[0]
    assert (found.score.cases, found.score.coverage) == (3, 0.75)
    positives_only = Partial({"east": (1, 0), "near": (1, 0)})
    with pytest.raises(EvaluationError, match="nothing can be embedded of the pairs labelled 0"):
        PairClassification(data=DATA, bootstrap=FEW).score(positives_only)


def test_files_are_read_or_refused_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "p.tsv"
    file.write_text("1\ta\tb\n0\tc\td\n")
    assert read_labelled_pairs(file) == LabelledPairs(
        name="p", labels=(True, False), first=("a", "c"), second=("b", "d")
    )
    for content, complaint in (
        ("1\ta\tb\n", "1 pairs labelled 1 and 0 labelled 0"),
        ("yes\ta\tb\n", r"p\.tsv:1: the label 'yes' is neither"),
        ("1\ta\n", r"p\.tsv:1: 2 columns"),
        ("1\ta\t \n", r"p\.tsv:1: a text is empty"),
        ("", "0 pairs labelled 1 and 0 labelled 0"),
    ):
        file.write_text(content)
        with pytest.raises(EvaluationError, match=complaint):
            read_labelled_pairs(file)


@pytest.mark.slow
def test_sick_scores_like_sentence_transformers_evaluator(minilm_peer: Any, data: Path) -> None:
    from sentence_transformers.sentence_transformer.evaluation import (
        BinaryClassificationEvaluator,
    )

    lines = (data / "nli" / "sick_e.trial.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    labels = tuple(row[0] == "entailment" for row in rows)
    pairs = LabelledPairs(
        name="sick",
        labels=labels,
        first=tuple(r[1] for r in rows),
        second=tuple(r[2] for r in rows),
    )
    evaluator = BinaryClassificationEvaluator(
        list(pairs.first), list(pairs.second), [int(label) for label in labels]
    )
    theirs = evaluator(minilm_peer)
    ours = PairClassification(data=pairs, bootstrap=Bootstrap(resamples=10)).score(
        WrappedModel(minilm_peer)
    )
    expected = [theirs[f"cosine_{name}"] for name in ("ap", "accuracy", "f1")]
    np.testing.assert_allclose([one.score.value for one in ours], expected, atol=0.0005)
