"""Varied sentences, how far they move, and the shape of spaces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from decant.embedders import HashEncoder
from decant.evaluation import (
    Anchor,
    Anchors,
    EvaluationError,
    Geometry,
    Variation,
    effective_rank,
    made_variations,
    read_anchors,
)
from decant.evaluation.tasks.variations import jumbled
from written_vectors import Partial, Written


def test_made_variations_are_the_rules_applied() -> None:
    made = made_variations("The ferry leaves at seven.")
    assert made[Variation.NEGATION] == "It is not true that the ferry leaves at seven."
    assert made[Variation.EXCLAMATION] == "The ferry leaves at seven!"
    assert made[Variation.QUESTION] == "The ferry leaves at seven?"
    assert set(made) == {
        Variation.NEGATION,
        Variation.EXCLAMATION,
        Variation.QUESTION,
        Variation.JUMBLED,
    }
    assert made_variations("I know.")[Variation.NEGATION] == "It is not true that I know."


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=2, max_size=8), st.integers(0, 99))
def test_jumbling_changes_the_order_and_nothing_else(words: list[str], seed: int) -> None:
    sentence = " ".join(words)
    if len(set(words)) < 2:
        with pytest.raises(EvaluationError, match="no two different words"):
            jumbled(sentence, seed=seed)
        return
    mixed = jumbled(sentence, seed=seed)
    assert mixed != sentence
    assert sorted(mixed.split()) == sorted(words)
    assert mixed == jumbled(sentence, seed=seed)


ANCHORS = (
    Anchor(base="one", variants={Variation.PARAPHRASE: "one p", Variation.ANTONYM: "one a"}),
    Anchor(base="two", variants={Variation.PARAPHRASE: "two p", Variation.ANTONYM: "two a"}),
    Anchor(base="six", variants={Variation.PARAPHRASE: "six p"}),
)
VECTORS = {
    "one": (1, 0),
    "one p": (1, 0),
    "one a": (0, 1),
    "two": (1, 0),
    "two p": (0, 1),
    "two a": (0, 1),
    "six": (1, 0),
    "six p": (-1, 0),
}


def test_win_rates_count_ties_half_and_means_every_sentence_that_has_the_variation() -> None:
    found = {
        one.score.metric: one.score
        for one in Anchors(name="a", anchors=ANCHORS).score(Written(VECTORS))
    }
    assert found["win rate, paraphrase over antonym"].value == 0.75
    assert found["win rate, paraphrase over antonym"].cases == 2
    assert found["mean cosine, paraphrase"].value == pytest.approx(0.0)
    assert found["mean cosine, paraphrase"].cases == 3
    assert found["mean cosine, antonym"].value == pytest.approx(0.0)
    assert len(found) == 3


def test_unknown_sentences_leave_win_rates_and_means() -> None:
    known = {text: vector for text, vector in VECTORS.items() if text != "two a"}
    found = {
        one.score.metric: one.score
        for one in Anchors(name="a", anchors=ANCHORS).score(Partial(known))
    }
    assert found["win rate, paraphrase over antonym"].value == 1.0
    assert found["win rate, paraphrase over antonym"].coverage == 0.5
    assert found["mean cosine, paraphrase"].coverage == 1.0


def test_files_give_sentences_and_made_variations_fill_the_gaps(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_text("Red sky.\tparaphrase\tThe sky is red.\nRed sky.\tquestion\tIs it red?\n")
    (plain,) = read_anchors(file, make=False)
    assert set(plain.variants) == {Variation.PARAPHRASE, Variation.QUESTION}
    (made,) = read_anchors(file, make=True)
    assert made.variants[Variation.QUESTION] == "Is it red?"
    assert made.variants[Variation.JUMBLED] == "sky. Red"
    for content, complaint in (
        ("a\tnonsense\tb\n", "'nonsense' is no variation; known are synonym"),
        ("a\tsynonym\tb\na\tsynonym\tc\n", r"a\.tsv:2: a second synonym of 'a'"),
        ("a\tsynonym\n", r"a\.tsv:1: 2 columns"),
        ("a\tsynonym\t \n", r"a\.tsv:1: a text is empty"),
    ):
        file.write_text(content)
        with pytest.raises(EvaluationError, match=complaint):
            read_anchors(file, make=False)


def test_sentences_may_stand_alone_where_variations_are_made(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("Red sky.\nThe sea is calm.\nRed sky.\tquestion\tIs it red?\n")
    sky, sea = read_anchors(file, make=True)
    assert (sky.base, sky.variants[Variation.QUESTION]) == ("Red sky.", "Is it red?")
    assert sea.variants == made_variations("The sea is calm.")
    with pytest.raises(EvaluationError, match=r"a\.txt:1: 1 columns"):
        read_anchors(file, make=False)
    file.write_text("Red sky.\nYes.\n")
    with pytest.raises(EvaluationError, match=r"a\.txt:2: 'Yes\.' has no two different words"):
        read_anchors(file, make=True)


@pytest.mark.parametrize("make", [True, False])
def test_a_file_without_sentences_is_refused(tmp_path: Path, make: bool) -> None:
    file = tmp_path / "a.txt"
    file.write_text("\n")
    with pytest.raises(EvaluationError, match=r"a\.txt: there are no sentences"):
        read_anchors(file, make=make)


def test_made_variations_have_a_contest_of_their_own() -> None:
    made = {Variation.EXCLAMATION: "one p", Variation.NEGATION: "one a"}
    anchors = (Anchor(base="one", variants=made),)
    contest, *means = (
        one.score for one in Anchors(name="a", anchors=anchors).score(Written(VECTORS))
    )
    assert (contest.metric, contest.value) == ("win rate, exclamation over negation", 1.0)
    assert contest.higher_is_better
    assert not any(one.higher_is_better for one in means)


def test_sentences_without_any_variation_are_refused() -> None:
    with pytest.raises(EvaluationError, match="no sentence with a variation"):
        Anchors(name="none", anchors=(Anchor(base="one", variants={}),))


def test_anisotropy_uniformity_and_alignment_are_functions_of_distances() -> None:
    random = np.random.default_rng(0)
    texts = tuple(f"t{number}" for number in range(5))
    embedder = Written({text: random.normal(size=3) for text in texts})
    related = (("t0", "t1"), ("t2", "t3"))
    task = Geometry(name="g", texts=texts, related=related, random_pairs=20_000)
    unit = {text: vector / np.linalg.norm(vector) for text, vector in embedder.vectors.items()}
    every = [(unit[one], unit[two]) for one in texts for two in texts if one != two]
    cosines = np.mean([one @ two for one, two in every])
    uniform = np.log(np.mean([np.exp(-2 * np.sum((one - two) ** 2)) for one, two in every]))
    align = np.mean([np.sum((unit[one] - unit[two]) ** 2) for one, two in related])
    anisotropy, uniformity, alignment = (one.score for one in task.score(embedder))
    # 20,000 draws of 20 ordered pairs: the mean is known to about 0.004.
    assert anisotropy.value == pytest.approx(cosines, abs=0.02)
    assert uniformity.value == pytest.approx(uniform, abs=0.03)
    assert alignment.value == pytest.approx(align, abs=1e-5)


def test_the_effective_rank_is_that_of_blocks_of_texts() -> None:
    draw = np.random.default_rng(0)
    texts = tuple(f"t{number}" for number in range(600))
    # Four directions, evenly filled, in a space of six.
    flat = {text: np.eye(6)[draw.integers(4)] for text in texts}
    measured = Geometry(name="g", texts=texts, random_pairs=50).score(Written(flat))
    found = measured[2].score
    assert found.metric == "effective rank (of 256 texts)"
    assert found.value == pytest.approx(4, abs=0.05)
    assert found.cases == 2
    assert found.low <= found.value <= found.high
    some = {text: vector for text, vector in flat.items() if text != "t7"}
    left = Geometry(name="g", texts=texts, random_pairs=50).score(Partial(some))[2].score
    assert (left.cases, left.coverage) in ((1, 0.5), (2, 1.0))
    half = {text: vector for text, vector in flat.items() if int(text[1:]) % 2}
    scores = Geometry(name="g", texts=texts, random_pairs=50).score(Partial(half))
    assert [one.score.metric for one in scores] == [
        "anisotropy (mean cosine of random pairs)", "uniformity",
    ]  # fmt: skip


def test_alignment_is_left_out_without_related_pairs_and_one_text_is_refused() -> None:
    task = Geometry(name="g", texts=("a b", "b c", "c d"), random_pairs=50)
    assert len(task.score(HashEncoder(dim=16))) == 2
    with pytest.raises(EvaluationError, match="1 texts and 10000 random pairs"):
        Geometry(name="g", texts=("a",))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (np.eye(4), 4.0),
        (np.array([[1, 0], [5, 0], [0.1, 0]]), 1.0),
        (np.array([[1, 0, 0], [0, 1, 0], [0, 2, 0], [3, 0, 0]]), 2.0),
    ],
)
def test_the_effective_rank_counts_evenly_filled_directions(
    rows: NDArray[np.float64], expected: float
) -> None:
    assert effective_rank(rows.astype(np.float32)) == pytest.approx(expected, abs=1e-5)


def test_the_effective_rank_is_exp_of_the_entropy_of_singular_values() -> None:
    # Unit rows at an angle: singular values sqrt(1 + c) and sqrt(1 - c) of cosine c.
    values = np.sqrt([1.6, 0.4])
    shares = values / values.sum()
    expected = np.exp(-sum(share * np.log(share) for share in shares))
    rows = np.array([[1, 0], [0.6, 0.8]], np.float32)
    assert effective_rank(rows) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(EvaluationError, match="no rows"):
        effective_rank(rows[:0])
