"""Word similarity: the task of :mod:`sts` with words for texts, and the files it comes in.

WordSim-353 (Finkelstein et al. 2002), MEN, RG-65, MTurk-771 and similar sets are lines of two words
and a human score. Words are embedded as they are written; one that an embedder does not know
lowers the coverage.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import EvaluationError
from .data_lines import numbered_lines
from .sts import ScoredPairs, Sts, scored_pairs


def read_word_pairs(file: Path) -> ScoredPairs:
    """Read lines of word, word and score, with tabs or, in lines without any, spaces between.

    Raises:
        EvaluationError: A line has other columns, a score is not a number, a word is empty.
        OSError: The file cannot be read.
    """
    return scored_pairs(file, _rows(file))


def _rows(file: Path) -> Iterator[tuple[int, str, str, str]]:
    for number, line in numbered_lines(file):
        parts = line.split("\t") if "\t" in line else line.split()
        if len(parts) != 3:
            raise EvaluationError(
                f"{file}:{number}: {len(parts)} columns, expected two words and a score"
            )
        first, second, score = parts
        yield number, score, first, second


def word_similarity_task(file: Path, *, name: str | None = None) -> Sts:
    """Return the task of one file, named after it by default."""
    pairs = read_word_pairs(file)
    return Sts(name=pairs.name if name is None else name, sets=(pairs,))
