"""Analogy questions, and the two layouts they come in: Google's one file and BATS' folder.

A category is a list of word pairs, ``a : a'``, and the questions over them: pair t is shown, pair q
is asked, ``a : a' :: b : ?``. Invariant: a question never shows the pair that it asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import EvaluationError
from .data_lines import numbered_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class WordPair:
    """One pair, with every word that counts as right.

    Args:
        source: ``a`` or ``b``.
        targets: ``a'`` or ``b'``; any of them is a right answer, the first one is shown.
    """

    source: str
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.source or not self.targets or not all(self.targets):
            raise EvaluationError(f"a pair has an empty word: {self.source!r}, {self.targets!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One relation.

    Args:
        name: The name of the relation.
        pairs: Its pairs.
        questions: Numbers of the pair that is shown and of the one that is asked.

    Raises:
        EvaluationError: There are no questions, or one names a pair that is not there or shows
            the pair it asks for.
    """

    name: str
    pairs: tuple[WordPair, ...]
    questions: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not self.questions:
            raise EvaluationError(f"{self.name}: there are no questions")
        for shown, asked in self.questions:
            if shown == asked or not 0 <= min(shown, asked) <= max(shown, asked) < len(self.pairs):
                raise EvaluationError(
                    f"{self.name}: question {shown, asked} over {len(self.pairs)} pairs"
                )


def all_questions(name: str, pairs: tuple[WordPair, ...]) -> Category:
    """Return the category in which every pair is asked with every other shown, as in BATS."""
    count = range(len(pairs))
    questions = tuple((shown, asked) for asked in count for shown in count if shown != asked)
    return Category(name=name, pairs=pairs, questions=questions)


def read_google_analogies(file: Path) -> tuple[Category, ...]:
    """Read ``: category`` lines, each followed by lines of four words (Mikolov et al. 2013).

    A question that shows the pair it asks for is refused, as in :class:`Category`.

    Raises:
        EvaluationError: A line has not four words, stands before any category, or a category has
            no questions or comes twice.
        OSError: The file cannot be read.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    name: str | None = None
    for number, line in numbered_lines(file):
        where = f"{file}:{number}"
        if line.startswith(":"):
            name = line[1:].strip()
            if not name:
                raise EvaluationError(f"{where}: a category without a name")
            if name in found:
                raise EvaluationError(f"{where}: the category {name!r} comes a second time")
            found[name] = []
            continue
        words = tuple(line.split())
        if len(words) != 4:
            raise EvaluationError(f"{where}: {len(words)} words, a question has four")
        if name is None:
            raise EvaluationError(f"{where}: a question before the first ': category' line")
        found[name].append(words)
    if not found:
        raise EvaluationError(f"{file}: there are no questions")
    try:
        return tuple(_category(name, lines) for name, lines in found.items())
    except EvaluationError as error:
        raise EvaluationError(f"{file}: {error}") from error


def read_bats(folder: Path) -> tuple[Category, ...]:
    """Read a folder of BATS, one file a category (Gladkova et al. 2016).

    A line is a word and its answers, with a tab or spaces between, and ``/`` between answers.
    Files in subfolders count too, in the order of their paths; all ordered pairs are questions.

    Raises:
        EvaluationError: A line is malformed, a file has fewer than two, or there are no files.
        OSError: A file cannot be read.
    """
    files = sorted(folder.rglob("*.txt"))
    if not files:
        raise EvaluationError(f"{folder}: there are no .txt files")
    return tuple(_bats_category(file) for file in files)


def _bats_category(file: Path) -> Category:
    pairs = _bats_pairs(file)
    if len(pairs) < 2:
        raise EvaluationError(
            f"{file}: there are no questions: {len(pairs)} pairs, and a question needs two"
        )
    return all_questions(file.stem, pairs)


def _bats_pairs(file: Path) -> tuple[WordPair, ...]:
    pairs: list[WordPair] = []
    for number, line in numbered_lines(file):
        parts = line.split()
        if len(parts) != 2:
            raise EvaluationError(
                f"{file}:{number}: {len(parts)} columns, expected a word and its answers"
            )
        answers = tuple(dict.fromkeys(answer for answer in parts[1].split("/") if answer))
        pairs.append(WordPair(source=parts[0], targets=answers))
    return tuple(pairs)


def _category(name: str, lines: list[tuple[str, ...]]) -> Category:
    numbers: dict[tuple[str, str], int] = {}
    questions = [
        (
            numbers.setdefault((line[0], line[1]), len(numbers)),
            numbers.setdefault((line[2], line[3]), len(numbers)),
        )
        for line in lines
    ]
    pairs = tuple(WordPair(source=source, targets=(target,)) for source, target in numbers)
    return Category(name=name, pairs=pairs, questions=tuple(questions))
