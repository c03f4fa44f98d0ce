"""Files of word pairs and of word vectors, and the tasks over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from decant.embedders import HashEncoder, Role, TextError
from decant.evaluation import (
    EvaluationError,
    ScoredPairs,
    WordFormat,
    WordVectors,
    model_agreement,
    read_word_pairs,
    read_word_vectors,
    word_format,
    word_similarity_task,
)
from decant.evaluation.scores.statistics import kendall, spearman
from written_vectors import Partial, Written

Rows = NDArray[np.float32]


def written(words: Sequence[str], rows: Rows, kind: WordFormat) -> bytes:
    """Return the file that the original tools would write."""
    heading = f"{len(words)} {rows.shape[1]}\n".encode()
    if kind is WordFormat.WORD2VEC_BINARY:
        entries = [
            word.encode() + b" " + row.astype("<f4").tobytes() + b"\n"
            for word, row in zip(words, rows, strict=True)
        ]
        return heading + b"".join(entries)
    lines = [
        " ".join([word, *(repr(float(number)) for number in row)]) + "\n"
        for word, row in zip(words, rows, strict=True)
    ]
    return (heading if kind is WordFormat.WORD2VEC_TEXT else b"") + "".join(lines).encode()


# Words hold any character that is no space, line end or surrogate; NBSP and U+2028 among them.
WORDS = st.lists(
    st.text(
        st.characters(exclude_characters=" \n\r", exclude_categories=["Cs"]), min_size=1, max_size=6
    ),
    min_size=1,
    max_size=8,
    unique=True,
)


@pytest.mark.parametrize("kind", WordFormat)
@given(words=WORDS, data=st.data())
def test_every_format_gives_back_the_words_and_numbers_that_were_written(
    tmp_path_factory: pytest.TempPathFactory,
    kind: WordFormat,
    words: list[str],
    data: st.DataObject,
) -> None:
    finite = st.floats(-(2.0**99), 2.0**99, width=32)
    rows = data.draw(
        arrays(np.float32, (len(words), data.draw(st.integers(1, 4))), elements=finite)
    )
    file = tmp_path_factory.getbasetemp() / f"{kind.value}.vec"
    file.write_bytes(written(words, rows, kind))
    found = read_word_vectors(file, kind)
    assert found.words == tuple(words)
    np.testing.assert_array_equal(found.matrix, rows)


def test_binary_files_without_line_feeds_are_read_too(tmp_path: Path) -> None:
    file = tmp_path / "v.bin"
    row = np.array([1.5, -2.0], "<f4").tobytes()
    file.write_bytes(b"2 2\nsun " + row + b"sea " + row)
    assert read_word_vectors(file, WordFormat.WORD2VEC_BINARY).words == ("sun", "sea")


def test_a_limit_reads_the_first_words_only(tmp_path: Path) -> None:
    file = tmp_path / "v.txt"
    file.write_text("a 1 2\nb 3 4\nbroken\n")
    assert read_word_vectors(file, WordFormat.GLOVE, limit=2).words == ("a", "b")
    with pytest.raises(EvaluationError, match="limit must be positive"):
        read_word_vectors(file, WordFormat.GLOVE, limit=0)


def test_glove_words_may_hold_spaces(tmp_path: Path) -> None:
    file = tmp_path / "v.txt"
    file.write_text("at 1 2\n. . . 3 4\n")
    assert read_word_vectors(file, WordFormat.GLOVE).words == ("at", ". . .")


@pytest.mark.parametrize(
    ("kind", "content", "complaint"),
    [
        (WordFormat.GLOVE, b"", "there are no word vectors"),
        (WordFormat.GLOVE, b"a 1 2\nb 3\n", "entry 1 is not a word and 2 numbers"),
        (WordFormat.GLOVE, b"a 1 2\nb 3 x\n", "entry 1 is not a word and 2 numbers"),
        (WordFormat.GLOVE, b"a\n", "entry 0 is not a word and 0 numbers"),
        (WordFormat.GLOVE, b"a 1\na 2\n", "the word 'a' comes more than once"),
        (WordFormat.GLOVE, b"a nan\n", "the vector of 'a' is not finite"),
        (WordFormat.GLOVE, b"\xff 1\n", "word 0 is not UTF-8"),
        (WordFormat.WORD2VEC_TEXT, b"a 1 2\n", "the first line must hold count and width"),
        (WordFormat.WORD2VEC_TEXT, b"2 1\na 1\n", "the heading says 2 words, there are 1"),
        (WordFormat.WORD2VEC_TEXT, b"0 1\n", "the heading says 0 words"),
        (WordFormat.WORD2VEC_BINARY, b"1 2\na \0\0\0\0", "the vector of word 0 of 1 is cut off"),
        (WordFormat.WORD2VEC_BINARY, b"1 2\n", "no word 0 of 1"),
        (WordFormat.WORD2VEC_BINARY, b"1 1\n" + b"a" * 9999, "no word 0 of 1"),
    ],
)
def test_files_that_are_not_what_they_were_said_to_be_are_refused(
    tmp_path: Path, kind: WordFormat, content: bytes, complaint: str
) -> None:
    file = tmp_path / "vectors"
    file.write_bytes(content)
    with pytest.raises(EvaluationError, match=complaint):
        read_word_vectors(file, kind)


SEA = WordVectors(
    words=("sea", "Sun", "ice-cream"), matrix=np.array([[1, 0], [0, 2], [3, 4]], np.float32)
)


def test_a_word_gets_its_vector_and_a_text_the_mean_of_its_known_words() -> None:
    found = SEA.encode(["Sun", "the sea, the Sun", "ice-cream!"], role=Role.QUERY).dense
    np.testing.assert_array_equal(found, [[0, 2], [0.5, 1], [3, 4]])
    assert found.dtype == np.float32


def test_unknown_words_are_said_to_be_unknown_and_never_become_zeros() -> None:
    assert SEA.known(["sea", "sun", "SEA", "moon", "moon and sea"]).tolist() == [
        True,
        False,
        False,
        False,
        True,
    ]
    with pytest.raises(TextError, match="text 1 holds no known word: 'moon'"):
        SEA.encode(["sea", "moon"], role=Role.QUERY)


def test_folding_finds_lower_case_forms_of_what_is_not_there_as_written() -> None:
    folded = WordVectors(words=SEA.words, matrix=SEA.matrix, fold=True)
    assert folded.known(["SEA", "Sun", "sun"]).tolist() == [True, True, False]


def test_no_texts_give_no_vectors() -> None:
    assert SEA.encode([], role=Role.PASSAGE).dense.shape == (0, 2)


def test_the_format_of_a_file_is_told_by_its_name_and_first_line(tmp_path: Path) -> None:
    for name, content, expected in (
        ("v.bin", b"", WordFormat.WORD2VEC_BINARY),
        ("v.vec", b"2 1\na 1\nb 2\n", WordFormat.WORD2VEC_TEXT),
        ("v.txt", b"a 1\nb 2\n", WordFormat.GLOVE),
    ):
        (tmp_path / name).write_bytes(content)
        assert word_format(tmp_path / name) is expected


def test_words_and_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"1 words do not fit a matrix of shape \(2, 2\)"):
        WordVectors(words=("a",), matrix=np.eye(2, dtype=np.float32))


def test_word_pairs_are_read_with_tabs_or_spaces(tmp_path: Path) -> None:
    file = tmp_path / "ws.txt"
    file.write_text("new york\tcity\t7.5\ncar bus 3\n")
    assert read_word_pairs(file) == ScoredPairs(
        name="ws", scores=(7.5, 3.0), first=("new york", "car"), second=("city", "bus")
    )


@pytest.mark.parametrize("line", ["a b", "a b 1 2", "a\tb", "a b high", "a\t \t1"])
def test_malformed_word_pairs_are_refused_with_their_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "ws.txt"
    file.write_text(f"x y 1\n{line}\n")
    with pytest.raises(EvaluationError, match=r"ws\.txt:2"):
        read_word_pairs(file)


def test_word_similarity_over_classical_vectors_states_its_coverage(tmp_path: Path) -> None:
    file = tmp_path / "ws.txt"
    file.write_text("sea sea 9\nsea Sun 1\nsea ice-cream 5\nsea moon 8\n")
    (found,) = word_similarity_task(file).score(SEA)
    assert found.score.value == pytest.approx(1.0)
    assert (found.score.cases, found.score.coverage, found.score.name) == (3, 0.75, "ws")


def test_all_word_similarity_files_can_be_read_and_one_be_scored(data: Path) -> None:
    sizes = {
        file.name: len(read_word_pairs(file).scores) for file in (data / "wordsim").glob("*.txt")
    }
    assert sizes["EN-WS-353-ALL.txt"] == 353
    assert sizes["EN-MEN-TR-3k.txt"] == 3000
    (found,) = word_similarity_task(data / "wordsim" / "EN-RG-65.txt").score(HashEncoder(dim=64))
    assert found.score.cases == 65


def test_agreement_correlates_cosines_over_the_pairs_that_all_know() -> None:
    random = np.random.default_rng(0)
    words = [f"w{number}" for number in range(12)]
    one = Written({word: random.normal(size=3) for word in words})
    two = Partial({word: random.normal(size=3) for word in words[1:]})
    pairs = [(words[i], words[j]) for i in range(12) for j in range(i)]
    found = model_agreement({"one": one, "two": two}, pairs, role=Role.QUERY)
    shared = [pair for pair in pairs if "w0" not in pair]
    assert (found.cases, found.coverage) == (55, 55 / 66)
    cosines = [
        np.array(
            [
                float(
                    model.vectors[a]
                    @ model.vectors[b]
                    / np.linalg.norm(model.vectors[a])
                    / np.linalg.norm(model.vectors[b])
                )
                for a, b in shared
            ]
        )
        for model in (one, two)
    ]
    assert found.spearman[0, 1] == pytest.approx(spearman(*cosines))
    assert found.kendall[1, 0] == pytest.approx(kendall(*cosines))
    np.testing.assert_allclose(np.diag(found.spearman), 1)
    np.testing.assert_allclose(found.spearman, found.spearman.T)


def test_agreement_needs_models_and_two_shared_pairs() -> None:
    with pytest.raises(EvaluationError, match="there are no models"):
        model_agreement({}, [("a", "b")], role=Role.QUERY)
    with pytest.raises(EvaluationError, match="know 0 of 2 pairs together"):
        model_agreement({"sea": SEA}, [("a", "b"), ("c", "sea")], role=Role.QUERY)
