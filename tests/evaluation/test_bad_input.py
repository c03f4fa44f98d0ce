"""What is wrong with data, from files and in Python: an error that says it, or a stated coverage.

Nothing here may end as a zero that looks like a score, as NaN, or as an error of a library.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import HashEncoder, Role, Vectors
from decant.evaluation import (
    Analogies,
    Anchor,
    Anchors,
    Bootstrap,
    EvaluationError,
    Geometry,
    LabelledPairs,
    PairClassification,
    Retrieval,
    RetrievalSet,
    ScoredPairs,
    Separation,
    Sts,
    Unknown,
    Variation,
    WordPair,
    all_pairs,
    all_questions,
    best_accuracy,
    best_f1,
    compare,
    compare_systems,
    read_anchors,
    read_bats,
    read_beir,
    read_google_analogies,
    read_labelled_pairs,
    read_sts,
    read_word_pairs,
    score_system,
)
from decant.evaluation.scores.statistics import spearman
from written_vectors import Partial, Written

FEW = Bootstrap(resamples=20)
READERS: Mapping[str, Callable[[Path], object]] = {
    "sts": read_sts,
    "words": read_word_pairs,
    "pairs": read_labelled_pairs,
    "analogies": read_google_analogies,
    "anchors": lambda file: read_anchors(file, make=True),
}


@pytest.mark.parametrize("content", ["", "\n \n\t\n"])
@pytest.mark.parametrize("kind", READERS)
def test_a_file_without_data_is_refused_and_named(tmp_path: Path, kind: str, content: str) -> None:
    file = tmp_path / "none.txt"
    file.write_text(content)
    with pytest.raises(EvaluationError, match=r"none\.txt: "):
        READERS[kind](file)


@given(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 4))
def test_scores_that_are_no_numbers_are_refused_with_their_pair(bad: float, place: int) -> None:
    scores = [1.0, 2.0, 3.0, 4.0, 5.0]
    scores[place] = bad
    with pytest.raises(EvaluationError, match=f"s: the score of pair {place} is {bad}"):
        ScoredPairs(name="s", scores=tuple(scores), first=("a",) * 5, second=tuple("vwxyz"))


def pairs(count: int, *, same: bool = False) -> ScoredPairs:
    """Return pairs whose scores rise."""
    first = tuple(f"a{number}" for number in range(count))
    second = first if same else tuple(f"b{number}" for number in range(count))
    return ScoredPairs(
        name="s", scores=tuple(float(n) for n in range(count)), first=first, second=second
    )


def test_one_pair_has_no_correlation() -> None:
    with pytest.raises(EvaluationError, match=r"s, cosine Spearman: .* two cases or more, got 1"):
        Sts(name="s", sets=(pairs(1),)).score(HashEncoder(dim=8))


def test_two_pairs_are_too_few_for_an_interval() -> None:
    with pytest.raises(EvaluationError, match="2 cases are too few for an interval"):
        Sts(name="s", sets=(pairs(2),), bootstrap=FEW).score(HashEncoder(dim=8))


def test_cosines_that_differ_by_rounding_alone_are_constant() -> None:
    random = np.random.default_rng(0)
    embedder = Written({f"a{number}": random.normal(size=9) for number in range(40)})
    task = Sts(name="s", sets=(pairs(40, same=True),), bootstrap=FEW)
    with pytest.raises(
        EvaluationError, match=r"all 40 values are 1\.0: a correlation with a constant"
    ):
        task.score(embedder)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=9, unique=True))
def test_values_that_differ_by_more_than_rounding_are_correlated(values: list[int]) -> None:
    numbers = np.array(values, np.float64) / 1000
    assert spearman(numbers, numbers) == pytest.approx(1.0)


def test_a_set_that_is_wholly_unknown_is_named() -> None:
    other = ScoredPairs(name="other", scores=(1.0, 2.0), first=("x", "y"), second=("y", "z"))
    known = Partial(
        {text: (1, number) for number, text in enumerate(pairs(3).first)} | {"b0": (1, 9)}
    )
    with pytest.raises(EvaluationError, match="nothing can be embedded of other; leave that set"):
        Sts(name="two", sets=(pairs(3), other)).score(known)


@pytest.mark.parametrize("labels", [(), (True,), (True, True)])
def test_pairs_of_one_label_are_refused(labels: tuple[bool, ...]) -> None:
    texts = tuple("ab")[: len(labels)]
    with pytest.raises(EvaluationError, match="without both labels"):
        LabelledPairs(name="l", labels=labels, first=texts, second=texts)


def test_labels_are_true_or_false() -> None:
    loose: Any = (1, 2)
    with pytest.raises(EvaluationError, match=r"must be true or false, got \(1, 2\)"):
        LabelledPairs(name="l", labels=loose, first=("a", "b"), second=("c", "d"))


def test_files_of_one_label_say_how_many_of_each_there_are(tmp_path: Path) -> None:
    file = tmp_path / "p.tsv"
    file.write_text("1\ta\tb\n1\tc\td\n")
    with pytest.raises(EvaluationError, match=r"p\.tsv: 2 pairs labelled 1 and 0 labelled 0"):
        read_labelled_pairs(file)


def test_a_label_whose_pairs_are_all_unknown_is_named() -> None:
    data = LabelledPairs(name="l", labels=(True, False), first=("a", " "), second=("b", "c"))
    with pytest.raises(EvaluationError, match="nothing can be embedded of the pairs labelled 0"):
        PairClassification(data=data, bootstrap=FEW).score(HashEncoder(dim=8))


@pytest.mark.parametrize("cut", [best_accuracy, best_f1])
@pytest.mark.parametrize("found", [np.zeros(0), np.array([0.5, np.nan])])
def test_thresholds_need_finite_cosines(cut: Callable[..., object], found: Any) -> None:
    with pytest.raises(EvaluationError, match="a threshold needs pairs with finite cosines"):
        cut(np.ones(len(found)), found)


def test_f1_without_a_related_pair_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(EvaluationError, match="none of 2 pairs belongs together"):
        best_f1(np.zeros(2), np.array([0.1, 0.2]))


DOCUMENTS = {"d": "red sun", "e": "blue sea"}
QUERIES = {"q": "red", "r": "blue"}


@pytest.mark.parametrize(
    ("judgements", "complaint"),
    [
        ({}, "no query has a relevant document"),
        ({"q": {}}, "no query has a relevant document"),
        ({"q": {"d": 0}}, "no query has a relevant document"),
        ({"q": {"x": 1}}, "the judgements name 'x', which are no documents"),
        ({"x": {"d": 1}}, "the judgements name 'x', which are no queries"),
        ({"q": {"d": 10**20}}, "is 100000000000000000000, not a whole number up to 1000"),
        ({"q": {"d": float("nan")}}, "is nan, not a whole number"),
        ({"q": {"d": 1.0}}, r"is 1\.0, not a whole number"),
    ],
)
def test_judgements_that_cannot_be_scored_are_refused(judgements: Any, complaint: str) -> None:
    with pytest.raises(EvaluationError, match=complaint):
        RetrievalSet(name="r", documents=DOCUMENTS, queries=QUERIES, judgements=judgements)


def test_ids_are_strings() -> None:
    loose: Any = {1: "red sun"}
    with pytest.raises(EvaluationError, match="ids of documents must be strings, got 1"):
        RetrievalSet(name="r", documents=loose, queries=QUERIES, judgements={})


@pytest.mark.parametrize("empty", ["corpus.jsonl", "queries.jsonl", "qrels.tsv"])
def test_an_empty_file_of_a_retrieval_set_is_named(tmp_path: Path, empty: str) -> None:
    for name, texts in (("corpus.jsonl", DOCUMENTS), ("queries.jsonl", QUERIES)):
        lines = (json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items())
        (tmp_path / name).write_text("".join(lines))
    (tmp_path / "qrels.tsv").write_text("q\td\t1\n")
    assert read_beir(tmp_path).judgements == {"q": {"d": 1}}
    (tmp_path / empty).write_text("query-id\tcorpus-id\tscore\n" if empty == "qrels.tsv" else "")
    with pytest.raises(EvaluationError, match=f"{empty}: there are no"):
        read_beir(tmp_path)


def test_documents_that_are_not_embedded_are_stated_and_count_as_missed() -> None:
    data = RetrievalSet(
        name="r",
        documents={**DOCUMENTS, "blank": " "},
        queries=QUERIES,
        judgements={"q": {"d": 1}, "r": {"blank": 1}},
    )
    recall = Retrieval(data=data, bootstrap=FEW).score(HashEncoder(dim=32))[1].score
    assert (recall.value, recall.cases, recall.coverage) == (0.5, 2, 1.0)
    assert recall.note == "1 of 3 documents not embedded"
    whole = RetrievalSet(name="r", documents=DOCUMENTS, queries=QUERIES, judgements={"q": {"d": 1}})
    assert Retrieval(data=whole, bootstrap=FEW).score(HashEncoder(dim=32))[0].score.note == ""


@pytest.mark.parametrize("unknown", Unknown)
def test_questions_of_which_none_can_be_asked_are_an_error_and_not_a_zero(unknown: Unknown) -> None:
    words = (WordPair(source="a", targets=("b",)), WordPair(source="c", targets=("d",)))
    task = Analogies(name="g", categories=(all_questions("one", words),), unknown=unknown)
    with pytest.raises(EvaluationError, match="g: 2 of 4 words can be embedded, and no question"):
        task.score(Partial({"a": (1, 0), "b": (0, 1)}))


def test_malformed_categories_are_named_with_their_file(tmp_path: Path) -> None:
    file = tmp_path / "q.txt"
    file.write_text(":\na b c d\n")
    with pytest.raises(EvaluationError, match=r"q\.txt:1: a category without a name"):
        read_google_analogies(file)
    file.write_text("dog\tdogs\n")
    with pytest.raises(EvaluationError, match=r"q\.txt: there are no questions: 1 pairs"):
        read_bats(tmp_path)


def test_a_variation_that_is_never_known_is_named() -> None:
    variants = {Variation.PARAPHRASE: "b", Variation.ANTONYM: "c"}
    task = Anchors(name="n", anchors=(Anchor(base="a", variants=variants),), bootstrap=FEW)
    with pytest.raises(EvaluationError, match=r"\(win rate, paraphrase over antonym\)"):
        task.score(Partial({"a": (1, 0), "b": (0, 1)}))


def test_a_text_is_no_pair_with_itself_in_the_geometry() -> None:
    with pytest.raises(EvaluationError, match="1 of 3 texts come a second time"):
        Geometry(name="g", texts=("a", "b", "a"))
    with pytest.raises(EvaluationError, match="none of the 5 cases"):
        Geometry(name="g", texts=("a", " "), random_pairs=5).score(HashEncoder(dim=8))
    with pytest.raises(EvaluationError, match="seed must not be negative"):
        Geometry(name="g", texts=("a", "b"), seed=-1)


def test_related_pairs_that_are_unknown_are_named() -> None:
    known = Partial({"a": (1, 0), "b": (0, 1), "c": (1, 1), "d": (1, 2)})
    related = (("x", "a"), ("x", "b"))
    with pytest.raises(EvaluationError, match="nothing can be embedded of the related pairs"):
        Separation(name="s", related=(*related, ("y", "c"), ("y", "d"))).score(known)


class Shaped:
    """Gives an array of the shape that it was told, whatever it is asked."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def encode(self, texts: Any, *, role: Role) -> Vectors:
        return Vectors(dense=np.ones(self.shape, np.float32))


@pytest.mark.parametrize("shape", [(6,), (1, 2), (6, 2, 1)])
def test_arrays_without_a_row_for_each_text_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EvaluationError, match="for 6 texts; it must give one row for each"):
        Sts(name="s", sets=(pairs(3),)).score(Shaped(*shape))
    with pytest.raises(EvaluationError, match="rows of a matrix"):
        all_pairs(np.ones(3, np.float32))


def test_a_vector_without_direction_is_told_with_its_text() -> None:
    broken = Written({"a0": (0, 0), "b0": (1, 0), "a1": (1, 1), "b1": (1, np.nan)})
    with pytest.raises(
        EvaluationError, match=r"2 of 4 vectors .* number 0, of 'a0', with length 0"
    ):
        Sts(name="s", sets=(pairs(2),)).score(broken)


def test_systems_that_share_too_few_cases_are_named() -> None:
    random = np.random.default_rng(0)
    sets = (pairs(8),)
    texts = [*sets[0].first, *sets[0].second]

    def result(name: str, numbers: range) -> Any:
        own = [text for text in texts if int(text[1:]) in numbers]
        known = Partial({text: random.normal(size=4) for text in own})
        return score_system(
            name, known, [Sts(name="s", sets=sets, bootstrap=FEW)], on_step=lambda _: None
        )

    one, two, three = result("one", range(5)), result("two", range(4, 8)), result("three", range(4))
    with pytest.raises(EvaluationError, match=r"one and two: s, .* the 1 of 8 cases that both"):
        compare_systems([one, two])
    with pytest.raises(EvaluationError, match="two and three: s: no case is covered by both"):
        compare_systems([two, three])
    assert compare(one.measurements[0], three.measurements[0]).cases == 4


def test_seeds_are_not_negative() -> None:
    with pytest.raises(EvaluationError, match=r"seed not negative, got 1000, 0\.95 and -1"):
        Bootstrap(seed=-1)
