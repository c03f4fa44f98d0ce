"""Classical word vectors as an embedder: read word2vec and GloVe files, look words up.

A text that is a word of the file gets its vector; another text gets the mean of the vectors of the
words in it that are known. A text without a known word is unknown: it lowers a task's coverage and
never becomes a vector of zeros. Invariant: reading keeps every word of the file once, in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import BinaryIO, assert_never

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Role, TextError, Vectors

from ..errors import EvaluationError

_WORDS = re.compile(r"[\w'-]+")
_LONGEST_WORD = 4096  # bytes; a longer one means that the file is not what it was said to be


class WordFormat(Enum):
    """The format of a file of word vectors."""

    WORD2VEC_TEXT = "word2vec-text"
    """A line of count and width, then a line of word and numbers for each word."""
    WORD2VEC_BINARY = "word2vec-binary"
    """A line of count and width, then word, space and little-endian float32 for each word."""
    GLOVE = "glove"
    """A line of word and numbers for each word, no heading."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordVectors:
    """An embedder that looks words up; roles do not matter.

    Args:
        words: Distinct words in the order of the file, usually by frequency.
        matrix: float32, shape ``(len(words), D)``.
        fold: Look up the lower-case form of a word that is not there as it is written.

    Raises:
        EvaluationError: Words and rows differ in number, a word comes twice, or there are none.

    >>> vectors = WordVectors(words=("sun", "sea"), matrix=np.eye(2, dtype=np.float32))
    >>> vectors.known(["sun", "moon", "sun and sea"]).tolist()
    [True, False, True]
    """

    words: tuple[str, ...]
    matrix: NDArray[np.float32]
    fold: bool = False
    _row_of: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.matrix.ndim != 2 or len(self.words) != len(self.matrix) or not self.words:
            raise EvaluationError(
                f"{len(self.words)} words do not fit a matrix of shape {self.matrix.shape}"
            )
        rows = {word: row for row, word in enumerate(self.words)}
        if len(rows) != len(self.words):
            twice = next(word for row, word in enumerate(self.words) if rows[word] != row)
            raise EvaluationError(f"the word {twice!r} comes more than once")
        object.__setattr__(self, "_row_of", rows)

    def known(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return which texts are, or hold, a known word; shape ``(N,)``."""
        return np.fromiter((bool(self._rows(text)) for text in texts), np.bool_, len(texts))

    def encode(self, texts: Iterable[str], *, role: Role) -> Vectors:
        """Return one vector per text, float32, shape ``(N, D)``, of the lengths in the file.

        Raises:
            TextError: A text holds no known word; the message holds its index.
        """
        del role
        dense: list[NDArray[np.float32]] = []
        for index, text in enumerate(texts):
            rows = self._rows(text)
            if not rows:
                raise TextError(f"text {index} holds no known word: {text[:80]!r}; ask known()")
            dense.append(self.matrix[rows].mean(axis=0, dtype=np.float32))
        if not dense:
            return Vectors(dense=np.empty((0, self.matrix.shape[1]), np.float32))
        return Vectors(dense=np.stack(dense))

    def _rows(self, text: str) -> list[int]:
        whole = self._row(text)
        if whole is not None:
            return [whole]
        found = (self._row(word) for word in _WORDS.findall(text))
        return [row for row in found if row is not None]

    def _row(self, word: str) -> int | None:
        row = self._row_of.get(word)
        return self._row_of.get(word.lower()) if row is None and self.fold else row


def read_word_vectors(
    file: Path, kind: WordFormat, *, limit: int | None = None, fold: bool = False
) -> WordVectors:
    """Return the word vectors of a file.

    Args:
        file: A file that is not compressed.
        kind: Its format, which is not guessed.
        limit: Read only this many words from the start; None reads all.
        fold: As in :class:`WordVectors`.

    Raises:
        EvaluationError: The file is not of that format, ends early, holds a word twice, a number
            that is not finite, or words that are not UTF-8.
        OSError: The file cannot be read.
    """
    if limit is not None and limit < 1:
        raise EvaluationError(f"limit must be positive or None, got {limit}")
    words: list[str] = []
    rows: list[NDArray[np.float32]] = []
    with file.open("rb") as opened:
        for raw, row in islice(_entries(file, opened, kind), limit):
            try:
                words.append(raw.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise EvaluationError(f"{file}: word {len(words)} is not UTF-8: {raw!r}") from error
            if not np.isfinite(row).all():
                raise EvaluationError(f"{file}: the vector of {words[-1]!r} is not finite")
            rows.append(row)
    if not words:
        raise EvaluationError(f"{file}: there are no word vectors")
    try:
        return WordVectors(words=tuple(words), matrix=np.stack(rows), fold=fold)
    except EvaluationError as error:
        raise EvaluationError(f"{file}: {error}") from error


def word_format(file: Path) -> WordFormat:
    """Return the format of a file, guessed from its name and first line.

    A name that ends in ``.bin`` is binary, a first line of two whole numbers is a heading, and
    anything else is GloVe's.

    Raises:
        OSError: The file cannot be read.
    """
    if file.suffix == ".bin":
        return WordFormat.WORD2VEC_BINARY
    with file.open("rb") as opened:
        parts = opened.readline(_LONGEST_WORD).split()
    headed = len(parts) == 2 and all(part.isdigit() for part in parts)
    return WordFormat.WORD2VEC_TEXT if headed else WordFormat.GLOVE


def _entries(
    file: Path, opened: BinaryIO, kind: WordFormat
) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
    match kind:
        case WordFormat.WORD2VEC_BINARY:
            return _binary(file, opened)
        case WordFormat.WORD2VEC_TEXT:
            return _text(file, opened, heading=True)
        case WordFormat.GLOVE:
            return _text(file, opened, heading=False)
        case _:
            assert_never(kind)


def _heading(file: Path, opened: BinaryIO) -> tuple[int, int]:
    line = opened.readline(_LONGEST_WORD)
    try:
        count, width = map(int, line.split())
    except ValueError as error:
        raise EvaluationError(
            f"{file}: the first line must hold count and width, got {line[:40]!r}; "
            "a file without one is of the format glove"
        ) from error
    if count < 1 or width < 1:
        raise EvaluationError(f"{file}: the heading says {count} words of width {width}")
    return count, width


def _text(
    file: Path, opened: BinaryIO, *, heading: bool
) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
    count, width = _heading(file, opened) if heading else (None, None)
    seen = 0
    for line in opened:
        # Only plain spaces: words of GloVe hold other white space, some even these.
        stripped = line.rstrip(b" \r\n")
        if not stripped:
            continue
        if width is None:
            width = stripped.count(b" ")
        parts = stripped.rsplit(b" ", width)
        try:
            numbers = np.array([float(part) for part in parts[1:]], np.float32)
        except ValueError:
            numbers = np.empty(0, np.float32)
        if len(numbers) != width or width == 0:
            raise EvaluationError(
                f"{file}: entry {seen} is not a word and {width} numbers: {line[:60]!r}"
            )
        seen += 1
        yield parts[0], numbers
    if count is not None and seen != count:
        raise EvaluationError(f"{file}: the heading says {count} words, there are {seen}")


def _binary(file: Path, opened: BinaryIO) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
    count, width = _heading(file, opened)
    for number in range(count):
        word = bytearray()
        while (byte := opened.read(1)) != b" ":
            if not byte or len(word) > _LONGEST_WORD:
                raise EvaluationError(f"{file}: no word {number} of {count}; the file is cut off")
            word += byte
        raw = opened.read(4 * width)
        if len(raw) != 4 * width:
            raise EvaluationError(f"{file}: the vector of word {number} of {count} is cut off")
        # The original tool ends each vector with a line feed, others do not.
        yield bytes(word).lstrip(b"\n"), np.frombuffer(raw, "<f4").astype(np.float32)
