"""The anchor word in its sentence and in the variations, against states taken by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from decant.embedders import Choices, HashEncoder, Role, TorchEncoder
from decant.evaluation import (
    Anchor,
    Anchors,
    Bootstrap,
    EvaluationError,
    Measurement,
    Variation,
    read_anchors,
)
from decant.evaluation.tasks.anchor_words import word_place
from models import save_language_model
from naive_strategies import Naive

FEW = Bootstrap(resamples=20)
LINES = (
    "The wind is cold.\tsynonym\tThe breeze is cold.\twind\tbreeze\n"
    "The wind is cold.\tparaphrase\tIt is the wind that is cold.\twind\n"
    "The wind is cold.\tantonym\tThe wind is hot.\n"
    "He went to the bank.\tparaphrase\tThe bank is where he went.\tbank\tbank\n"
    "He went to the bank.\tpolysemy\tHe banked at the bank of the river.\tbank\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language_model(tmp_path_factory.mktemp("words") / "model", "llama", layers=2)


@pytest.fixture
def encoder(folder: Path) -> Iterator[TorchEncoder]:
    with TorchEncoder.from_pretrained(folder, strategy="late-interaction") as made:
        yield made


def naive_word(naive: Naive, text: str, begin: int, end: int) -> np.ndarray:
    """The mean of the last states of the tokens that hold characters of the word."""
    encoding = naive.tokenizer.encode(text)
    states = naive.states(encoding.ids)[-1]
    held = [
        state
        for state, (first, last) in zip(states, encoding.offsets, strict=True)
        if first < end and last > begin
    ]
    mean = torch.stack(held).mean(0).numpy()
    return np.asarray(mean / np.linalg.norm(mean))


def word_scores(found: tuple[Measurement, ...]) -> dict[str, Measurement]:
    start = "mean cosine of the word, "
    return {
        one.score.metric.removeprefix(start): one
        for one in found
        if one.score.metric.startswith(start)
    }


def test_words_are_compared_where_they_stand_and_as_a_loop_compares_them(
    encoder: TorchEncoder, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "anchors.tsv"
    file.write_text(LINES)
    task = Anchors(name="a", anchors=read_anchors(file, make=False), bootstrap=FEW)
    found = task.score(encoder)
    naive = Naive(folder)
    wind = naive_word(naive, "The wind is cold.", 4, 8)
    bank = naive_word(naive, "He went to the bank.", 15, 19)
    expected = {
        "synonym": [wind @ naive_word(naive, "The breeze is cold.", 4, 10)],
        "paraphrase": [
            wind @ naive_word(naive, "It is the wind that is cold.", 10, 14),
            bank @ naive_word(naive, "The bank is where he went.", 4, 8),
        ],
        "polysemy": [bank @ naive_word(naive, "He banked at the bank of the river.", 17, 21)],
    }
    words = word_scores(found)
    assert list(words) == list(expected)
    for kind, values in expected.items():
        score = words[kind].score
        assert score.value == pytest.approx(np.mean(values), abs=1e-5)
        assert (score.cases, score.coverage) == (len(values), 1.0)
        assert not score.higher_is_better
        assert score.low <= score.value <= score.high
    sentences = {one.score.metric for one in found} - {one.score.metric for one in words.values()}
    assert "mean cosine, antonym" in sentences
    assert found[-3:] == tuple(words.values()), "what others have comes first, in their order"


def test_encoders_without_vectors_of_parts_have_no_rows_of_words(
    folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "anchors.tsv"
    file.write_text(LINES)
    task = Anchors(name="a", anchors=read_anchors(file, make=False), bootstrap=FEW)
    assert word_scores(task.score(HashEncoder(dim=16))) == {}
    choices = Choices(token_embeddings=True)
    with (
        TorchEncoder.from_pretrained(folder, strategy="mean") as plain,
        TorchEncoder.from_pretrained(folder, strategy="prompt-eol", choices=choices) as reworded,
    ):
        assert word_scores(task.score(plain)) == {}
        assert word_scores(task.score(reworded)) == {}


def test_an_unchanged_sentence_leaves_its_word_where_it_was(encoder: TorchEncoder) -> None:
    same = Anchor(
        base="The wind is cold.",
        variants={Variation.PARAPHRASE: "The wind is cold."},
        word="wind",
        words={Variation.PARAPHRASE: "wind"},
    )
    (one,) = word_scores(Anchors(name="a", anchors=(same,), bootstrap=FEW).score(encoder)).values()
    assert one.score.value == pytest.approx(1, abs=1e-5)


def test_made_variations_are_searched_for_the_word(tmp_path: Path) -> None:
    file = tmp_path / "anchors.tsv"
    file.write_text("Wind is cold.\tsynonym\tBreeze is cold.\tWind\tBreeze\n")
    (made,) = read_anchors(file, make=True)
    assert made.word == "Wind"
    assert made.words == {
        Variation.SYNONYM: "Breeze",
        Variation.NEGATION: "Wind",
        Variation.JUMBLED: "Wind",
        Variation.EXCLAMATION: "Wind",
        Variation.QUESTION: "Wind",
    }
    assert made.variants[Variation.NEGATION] == "It is not true that wind is cold."
    assert word_place(made.variants[Variation.NEGATION], "Wind") == (20, 24)
    file.write_text(
        "The cold wind blows at night.\tsynonym\tThe icy wind blows.\tcold wind\ticy wind\n"
    )
    (parted,) = read_anchors(file, make=True)
    assert Variation.JUMBLED not in parted.words, "the two words stand apart there"


@given(
    before=st.text("ab -_é", max_size=6),
    word=st.text("abé", min_size=1, max_size=3),
    after=st.text("ab -_é", max_size=6),
)
def test_a_place_is_the_first_whole_occurrence(before: str, word: str, after: str) -> None:
    text = before + word + after

    def whole(begin: int) -> bool:
        around = text[max(begin - 1, 0) : begin] + text[begin + len(word) : begin + len(word) + 1]
        return text[begin : begin + len(word)] == word and not any(
            one.isalnum() or one == "_" for one in around
        )

    starts = [begin for begin in range(len(text)) if whole(begin)]
    expected = (starts[0], starts[0] + len(word)) if starts else None
    assert word_place(text, word) == expected


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("a b\tsynonym\ta c\td\n", r"a\.tsv:1: the word 'd' does not stand in 'a b'"),
        ("a b\tsynonym\ta c\tb\n", r"a\.tsv:1: the word 'b' does not stand in 'a c'"),
        ("a b\tsynonym\ta c\tb\tcc\n", r"a\.tsv:1: the word 'cc' does not stand in 'a c'"),
        ("abc\tsynonym\tabc\tb\n", "'b' does not stand in 'abc' as a whole word"),
        ("a b\tsynonym\ta c\tb\tc\td\n", r"a\.tsv:1: 6 columns"),
        ("a b\tsynonym\ta c\tb\t \n", r"a\.tsv:1: a text is empty"),
        ("a b\tsynonym\ta c\ta\na b\tantonym\ta d\tb\td\n", r"tsv:2: .* word 'a' above and 'b'"),
    ],
)
def test_words_that_cannot_be_followed_are_refused(
    tmp_path: Path, content: str, complaint: str
) -> None:
    file = tmp_path / "a.tsv"
    file.write_text(content)
    with pytest.raises(EvaluationError, match=complaint):
        read_anchors(file, make=False)


def test_an_anchor_holds_only_words_that_stand_in_its_texts() -> None:
    variants = {Variation.SYNONYM: "a c"}
    with pytest.raises(EvaluationError, match="no anchor word"):
        Anchor(base="a b", variants=variants, words={Variation.SYNONYM: "a"})
    with pytest.raises(EvaluationError, match="for antonym, a variation it has not"):
        Anchor(base="a b", variants=variants, word="b", words={Variation.ANTONYM: "b"})
    with pytest.raises(EvaluationError, match="'x' does not stand in 'a c'"):
        Anchor(base="a b", variants=variants, word="b", words={Variation.SYNONYM: "x"})


def test_the_role_selects_the_prompt(folder: Path) -> None:
    choices = Choices(query_prompt="ask: {text}")
    anchor = Anchor(
        base="The wind is cold.",
        variants={Variation.ANTONYM: "How hot is the wind."},
        word="wind",
        words={Variation.ANTONYM: "wind"},
    )
    with TorchEncoder.from_pretrained(
        folder, strategy="late-interaction", choices=choices
    ) as prompted:
        found = [
            word_scores(
                Anchors(name="a", anchors=(anchor,), role=role, bootstrap=FEW).score(prompted)
            )["antonym"].score.value
            for role in Role
        ]
    assert abs(found[0] - found[1]) > 1e-6
