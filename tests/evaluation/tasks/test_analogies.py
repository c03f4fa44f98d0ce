"""Solvers against formulas written out word by word; files; exclusion; coverage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import HashEncoder
from decant.evaluation import (
    Analogies,
    Category,
    EvaluationError,
    Solver,
    Unknown,
    WordPair,
    all_questions,
    read_bats,
    read_google_analogies,
)
from written_vectors import Partial, Written

Row = NDArray[np.float64]


def cosine(one: Row, two: Row) -> float:
    return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


def shifted(one: Row, two: Row) -> float:
    return (cosine(one, two) + 1) / 2


# The formulas of Levy and Goldberg 2014, for unit vectors x, a, a', b.
FORMULAS: dict[Solver, Callable[[Row, Row, Row, Row], float]] = {
    Solver.ADD: lambda x, a, t, b: cosine(x, t - a + b),
    Solver.MUL: lambda x, a, t, b: shifted(x, t) * shifted(x, b) / (shifted(x, a) + 0.001),
    Solver.PAIR_DISTANCE: lambda x, a, t, b: (
        -np.inf if np.array_equal(x, b) else cosine(x - b, t - a)
    ),
    Solver.SIMILAR_TO_B: lambda x, a, t, b: cosine(x, b),
}


def pairs_of(count: int) -> tuple[WordPair, ...]:
    return tuple(WordPair(source=f"s{n}", targets=(f"t{n}", f"u{n}")) for n in range(count))


def random_words(seed: int, count: int, extra: int = 0) -> dict[str, Row]:
    random = np.random.default_rng(seed)
    words = [word for pair in pairs_of(count) for word in (pair.source, *pair.targets)]
    words += [f"x{number}" for number in range(extra)]
    made = {word: random.normal(size=4) for word in words}
    return {word: vector / np.linalg.norm(vector) for word, vector in made.items()}


@pytest.mark.parametrize("solver", FORMULAS)
@pytest.mark.parametrize("seed", range(5))
def test_pairwise_solvers_answer_as_their_formulas_do(solver: Solver, seed: int) -> None:
    vectors = random_words(seed, 6, extra=4)
    category = all_questions("one", pairs_of(6))
    task = Analogies(
        name="made", categories=(category,), solvers=(solver,), vocabulary=("x0", "x1", "x2", "x3")
    )
    usual, honest = task.score(Written(vectors))
    expected_usual, expected_honest = [], []
    for shown, asked in category.questions:
        a, b = f"s{shown}", f"s{asked}"
        target = f"t{shown}"

        def value(word: str, a: str = a, t: str = target, b: str = b) -> float:
            return FORMULAS[solver](vectors[word], vectors[a], vectors[t], vectors[b])

        right = {f"t{asked}", f"u{asked}"}
        expected_honest.append(max(vectors, key=value) in right)
        expected_usual.append(max(set(vectors) - {a, b, target}, key=value) in right)
    assert usual.cases.found.tolist() == expected_usual
    assert honest.cases.found.tolist() == expected_honest
    assert usual.score.value == pytest.approx(np.mean(expected_usual))


@pytest.mark.parametrize("seed", range(5))
def test_the_average_solver_adds_the_mean_offset_of_all_other_pairs(seed: int) -> None:
    vectors = random_words(seed, 6)
    task = Analogies(
        name="made", categories=(all_questions("one", pairs_of(6)),), solvers=(Solver.AVERAGE,)
    )
    usual, honest = task.score(Written(vectors))
    for asked in range(6):
        others = [number for number in range(6) if number != asked]
        offset = np.mean([vectors[f"t{n}"] - vectors[f"s{n}"] for n in others], axis=0)
        wanted = vectors[f"s{asked}"] + offset
        best = sorted(vectors, key=lambda word, w=wanted: -cosine(vectors[word], w))  # type: ignore[misc]
        right = {f"t{asked}", f"u{asked}"}
        assert honest.cases.found[asked] == (best[0] in right)
        best.remove(f"s{asked}")
        assert usual.cases.found[asked] == (best[0] in right)


def capitals() -> dict[str, Row]:
    """Countries and capitals: one direction tells the country, another the capital."""
    random = np.random.default_rng(4)
    made: dict[str, Row] = {}
    for number in range(8):
        country = np.zeros(12)
        country[number] = 1
        made[f"s{number}"] = country + random.normal(scale=0.05, size=12)
        made[f"t{number}"] = country + random.normal(scale=0.05, size=12)
        made[f"t{number}"][8] += 1
    return made


@pytest.mark.parametrize("solver", [s for s in Solver if s is not Solver.SIMILAR_TO_B])
def test_every_solver_finds_capitals_where_the_offset_is_constant(solver: Solver) -> None:
    pairs = tuple(WordPair(source=f"s{n}", targets=(f"t{n}",)) for n in range(8))
    task = Analogies(name="c", categories=(all_questions("capital", pairs),), solvers=(solver,))
    usual, honest = task.score(Written(capitals()))
    assert usual.score.value == 1.0
    assert usual.score.cases == (8 if solver.by_category else 56)
    assert honest.score.value <= usual.score.value


def test_no_exclusion_is_lower_where_the_nearest_word_is_b_itself() -> None:
    random = np.random.default_rng(3)
    close = capitals()
    for number in range(8):
        # Near its country, in a direction of its own: the offset hardly moves b.
        close[f"t{number}"] = close[f"s{number}"] + random.normal(scale=0.1, size=12)
    pairs = tuple(WordPair(source=f"s{n}", targets=(f"t{n}",)) for n in range(8))
    task = Analogies(name="c", categories=(all_questions("c", pairs),), solvers=(Solver.ADD,))
    usual, honest = task.score(Written(close))
    assert usual.score.value > 0.9
    assert honest.score.value < 0.5 * usual.score.value
    assert usual.score.metric == "3CosAdd accuracy, mean of categories"
    assert honest.score.metric == "3CosAdd accuracy, mean of categories, no word excluded"


def two_categories() -> tuple[Category, Category]:
    pairs = tuple(WordPair(source=f"s{n}", targets=(f"t{n}",)) for n in range(8))
    return all_questions("large", pairs[:6]), all_questions("small", pairs[6:])


@pytest.mark.parametrize("solver", Solver)
def test_questions_with_unknown_words_are_wrong_or_left_out(solver: Solver) -> None:
    known = {word: vector for word, vector in capitals().items() if word != "t0"}
    wrong, out = (
        Analogies(name="c", categories=two_categories(), solvers=(solver,), unknown=unknown).score(
            Partial(known)
        )[0]
        for unknown in Unknown
    )
    # Of 30 and 2 questions, the ten with the first pair; of six and two asked pairs, the first.
    total, lost = (8, 1) if solver.by_category else (32, 10)
    assert wrong.score.cases == total
    assert out.score.cases == total - lost
    assert wrong.score.coverage == out.score.coverage == pytest.approx((total - lost) / total)
    assert not wrong.cases.found[~out.cases.covered].any()
    np.testing.assert_array_equal(
        wrong.cases.found[out.cases.covered], out.cases.found[out.cases.covered]
    )


def test_categories_weigh_alike_and_can_be_looked_at_one_by_one() -> None:
    task = Analogies(name="c", categories=two_categories(), solvers=(Solver.SIMILAR_TO_B,))
    for measured in task.score(Written(capitals())):
        parts = task.by_category(measured)
        assert list(parts) == ["large", "small"]
        assert [part.score.cases for part in parts.values()] == [30, 2]
        mean = np.mean([part.score.value for part in parts.values()])
        assert measured.score.value == pytest.approx(mean)


def test_small_blocks_give_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    from decant.evaluation.tasks import analogies

    task = Analogies(
        name="made", categories=(all_questions("one", pairs_of(6)),), solvers=(Solver.MUL,)
    )
    embedder = Written(random_words(9, 6))
    whole = task.score(embedder)[0].cases.found
    monkeypatch.setattr(analogies, "_SCORES", 40)
    np.testing.assert_array_equal(task.score(embedder)[0].cases.found, whole)


def test_an_embedder_that_knows_no_word_is_told_so() -> None:
    with pytest.raises(EvaluationError, match="none of the 16 words"):
        Analogies(name="c", categories=two_categories()).score(Partial({}))


def test_googles_file_gives_categories_pairs_and_questions(tmp_path: Path) -> None:
    file = tmp_path / "q.txt"
    file.write_text(
        ": capitals\nRome Italy Oslo Norway\nOslo Norway Rome Italy\n: plural\na b c d\n"
    )
    first, second = read_google_analogies(file)
    assert (first.name, second.name) == ("capitals", "plural")
    assert first.pairs == (
        WordPair(source="Rome", targets=("Italy",)),
        WordPair(source="Oslo", targets=("Norway",)),
    )
    assert first.questions == ((0, 1), (1, 0))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "there are no questions"),
        ("a b c d\n", "q.txt:1: a question before the first"),
        (": x\na b c\n", "q.txt:2: 3 words"),
        (": x\n: y\na b c d\n", "x: there are no questions"),
        (": x\na b c d\n: x\n", "q.txt:3: the category 'x' comes a second time"),
        (": x\na b a b\n", "x: question"),
    ],
)
def test_malformed_questions_are_refused(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "q.txt"
    file.write_text(content)
    with pytest.raises(EvaluationError, match=complaint):
        read_google_analogies(file)


def test_bats_files_give_every_ordered_pair_and_all_right_answers(tmp_path: Path) -> None:
    (tmp_path / "1_Inflectional").mkdir()
    file = tmp_path / "1_Inflectional" / "I01 [noun - plural].txt"
    file.write_text("dog\tdogs\nman\tmen/mens/men\n")
    (found,) = read_bats(tmp_path)
    assert found.name == "I01 [noun - plural]"
    assert found.pairs[1] == WordPair(source="man", targets=("men", "mens"))
    assert sorted(found.questions) == [(0, 1), (1, 0)]


def test_malformed_bats_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"there are no \.txt files"):
        read_bats(tmp_path)
    file = tmp_path / "one.txt"
    file.write_text("dog\n")
    with pytest.raises(EvaluationError, match=r"one\.txt:1: 1 columns"):
        read_bats(tmp_path)
    file.write_text("dog\t/\n")
    with pytest.raises(EvaluationError, match="a pair has an empty word"):
        read_bats(tmp_path)
    file.write_text("dog\tdogs\n")
    with pytest.raises(EvaluationError, match=r"one\.txt: there are no questions"):
        read_bats(tmp_path)


def test_the_real_questions_can_be_read_and_asked(data: Path) -> None:
    categories = read_google_analogies(data / "analogy" / "questions-words.dev.txt")
    assert sum(len(category.questions) for category in categories) == 9773
    task = Analogies(name="google", categories=categories[8:9], solvers=(Solver.ADD, Solver.LRCOS))
    for found in task.score(HashEncoder(dim=32)):
        assert 0 <= found.score.low <= found.score.value <= found.score.high <= 1
