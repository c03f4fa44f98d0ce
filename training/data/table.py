"""Training data on disk: JSON lines and TSV, checked once, then read row by row.

A table holds the positions of its rows in the files, 48 bytes each, instead of the rows. Files are
mapped into memory, so that workers of a data loader share them. Rows that repeat an earlier row are
left out and counted.
Invariant: every row of a table was read once without an error.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import cast, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .row import Column, Columns, TrainingExample

_TABLES = (".tsv", ".txt")
_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _File:
    path: Path
    data: mmap.mmap
    columns: Columns
    header: tuple[str, ...]
    """Names of a TSV's columns; empty for JSON lines."""

    def row(self, start: int, line: int) -> TrainingExample:
        place = f"{self.path}:{line}"
        end = self.data.find(b"\n", start)
        raw = self.data[start : len(self.data) if end < 0 else end].rstrip(b"\r")
        try:
            text = raw.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise DataError(f"{place}: not UTF-8 ({error.reason}); convert the file") from error
        return self.columns.row(self._values(text, place), place=place)

    def _values(self, text: str, place: str) -> dict[str, object]:
        if not self.header:
            return _object(text, place)
        cells = text.split("\t")
        if len(cells) != len(self.header):
            raise DataError(
                f"{place}: {len(cells)} columns, where {len(self.header)} were named "
                f"({', '.join(self.header)}); a text must not hold a tab"
            )
        found: dict[str, list[str]] = {}
        for name, cell in zip(self.header, cells, strict=True):
            found.setdefault(name, []).append(cell)
        # Columns of one name are a list: several negatives of a file without a header.
        return {name: held if len(held) > 1 else held[0] for name, held in found.items()}


class TrainingDataset(Sequence[TrainingExample]):
    """Rows of one or more files; made by :func:`read_table`.

    Attributes:
        groups: For each row, the 64-bit hash of what decides its side of a split: its group, else
            its positive, else its query.
        tasks: For each row, an index into ``task_names``.
        task_names: In the order in which they first stand.
        scores: float32 for each row; NaN where it has none.
        instructed: For each row, whether it has an instruction.
        answered: For each row, whether its negatives have answers.
        repeated: How many rows were left out because an earlier one is equal.
    """

    def __init__(
        self,
        files: Sequence[_File],
        places: NDArray[np.int64],
        marks: _Marks,
        *,
        repeated: int,
    ) -> None:
        self._files = tuple(files)
        self._places = places  # (N, 3): file, first byte, line
        self._marks = marks
        self.groups = marks.groups
        self.tasks = marks.tasks
        self.task_names = marks.names
        self.scores = marks.scores
        self.instructed = marks.instructed
        self.answered = marks.answered
        self.repeated = repeated

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> TrainingExample: ...
    @overload
    def __getitem__(self, index: slice) -> TrainingDataset: ...
    def __getitem__(self, index: int | slice) -> TrainingExample | TrainingDataset:
        if isinstance(index, slice):
            return self.subset(np.arange(len(self))[index])
        file, start, line = map(int, self._places[index])
        return self._files[file].row(start, line)

    def __iter__(self) -> Iterator[TrainingExample]:
        return (self[index] for index in range(len(self)))

    def subset(self, rows: NDArray[np.int64]) -> TrainingDataset:
        """Return the table of these rows, in this order."""
        kept = self._places[rows]
        return TrainingDataset(self._files, kept, self._marks.subset(rows), repeated=self.repeated)

    def digest(self) -> str:
        """Return 16 hexadecimal digits over what the rows say and their order."""
        return blake2b(self._marks.contents.tobytes(), digest_size=8).hexdigest()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, in order."""
        return tuple(file.path for file in self._files)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Marks:
    groups: NDArray[np.uint64]
    tasks: NDArray[np.int32]
    scores: NDArray[np.float32]
    instructed: NDArray[np.bool_]
    answered: NDArray[np.bool_]
    contents: NDArray[np.uint64]
    names: tuple[str, ...]

    def subset(self, rows: NDArray[np.int64]) -> _Marks:
        return replace(
            self,
            groups=self.groups[rows],
            tasks=self.tasks[rows],
            scores=self.scores[rows],
            instructed=self.instructed[rows],
            answered=self.answered[rows],
            contents=self.contents[rows],
        )


def read_table(
    paths: Iterable[str | Path],
    *,
    columns: Columns | None = None,
    needs: Iterable[Column] = (Column.QUERY,),
) -> TrainingDataset:
    """Read and check training data.

    Args:
        paths: Files of JSON lines (``.jsonl``) or tabs (``.tsv``, whose first line names the
            columns unless ``columns`` gives their order). Quotes and backslashes mean nothing.
        columns: Which column holds what; None recognises common names.
        needs: Columns that every row must have.

    Raises:
        DataError: A file is missing, empty or of another format, or a line is malformed; the
            message names file and line.
    """
    wanted = tuple(needs)
    files: list[_File] = []
    places: list[tuple[int, int, int]] = []
    names: dict[str, int] = {}
    marks: list[tuple[int, int, float, bool, bool]] = []
    hashes: list[int] = []
    for path in map(Path, paths):
        file, begun, line = _opened(path, columns, wanted)
        files.append(file)
        for start, number in _lines(file.data, begun, line):
            row = file.row(start, number)
            _check(row, wanted)
            places.append((len(files) - 1, start, number))
            task = names.setdefault(row.task, len(names))
            score = np.nan if row.score is None else row.score
            group = text_hash(row.group or row.positive or row.query)
            instructed, answered = row.instruction is not None, bool(row.negative_answers)
            marks.append((group, task, score, instructed, answered))
            hashes.append(text_hash(*_texts_of(row)))
    if not places:
        shown = ", ".join(str(file.path) for file in files) or "no file"
        raise DataError(f"{shown}: there are no rows, and training needs some")
    # 64 bits: of ten million rows, two differ and count as equal with a chance of 3 in a million.
    contents = np.array(hashes, np.uint64)
    _, first = np.unique(contents, return_index=True)
    kept = np.sort(first)
    made = _Marks(
        groups=np.array([mark[0] for mark in marks], np.uint64),
        tasks=np.array([mark[1] for mark in marks], np.int32),
        scores=np.array([mark[2] for mark in marks], np.float32),
        instructed=np.array([mark[3] for mark in marks], np.bool_),
        answered=np.array([mark[4] for mark in marks], np.bool_),
        contents=contents,
        names=tuple(names),
    )
    return TrainingDataset(
        files, np.array(places, np.int64)[kept], made.subset(kept), repeated=len(places) - len(kept)
    )


def _opened(path: Path, columns: Columns | None, needs: Sequence[Column]) -> tuple[_File, int, int]:
    """Map a file; return it with the first byte and line number of its rows."""
    if not path.is_file():
        raise DataError(f"{path} is not a file; give files of JSON lines (.jsonl) or tabs (.tsv)")
    if path.suffix not in (*_TABLES, *_LINES):
        raise DataError(
            f"{path}: decant reads JSON lines ({', '.join(_LINES)}) and tabs ({', '.join(_TABLES)})"
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty")
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start, line = 0, 1
    if path.suffix in _LINES:
        first = _object(_first_line(data, path), f"{path}:1")
        header: tuple[str, ...] = ()
        names: Sequence[str] = tuple(first)
    elif columns is not None and columns.order:
        header = names = columns.order
    else:
        header = names = tuple(_first_line(data, path).split("\t"))
        start, line = data.find(b"\n") + 1 or len(data), 2
    found = columns or Columns.recognise(names, where=str(path))
    for field in needs:
        held = found.names.get(field, ())
        absent = [name for name in held if name not in names]
        if not held or absent:
            raise DataError(
                f"{path}:1: no column is the {field}, which this method needs; the file has "
                f"{', '.join(map(repr, names)) or 'none'}. Name the right ones: columns "
                "'query=…,positive=…', or 'score,query,positive' where the file has no header"
            )
    return _File(path=path, data=data, columns=found, header=header), start, line


def _first_line(data: mmap.mmap, path: Path) -> str:
    end = data.find(b"\n")
    try:
        line = data[: len(data) if end < 0 else end].rstrip(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:1: not UTF-8 ({error.reason}); convert the file") from error
    return line.removeprefix("\ufeff")


def _lines(data: mmap.mmap, start: int, line: int) -> Iterator[tuple[int, int]]:
    """Yield first byte and number of every line that is not blank."""
    size = len(data)
    while start < size:
        end = data.find(b"\n", start)
        end = size if end < 0 else end
        if data[start:end].strip():
            yield start, line
        start, line = end + 1, line + 1


def _object(text: str, place: str) -> dict[str, object]:
    try:
        found: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not JSON ({error}); each line holds one object") from error
    if not isinstance(found, dict):
        raise DataError(f"{place}: should be a JSON object, found {type(found).__name__}")
    return cast("dict[str, object]", found)


def _check(row: TrainingExample, needs: Sequence[Column]) -> None:
    for field in needs:
        if getattr(row, field) in (None, ()):
            raise DataError(
                f"{row.place}: there is no {field}, which this method needs in each row"
            )


def _texts_of(row: TrainingExample) -> tuple[str, ...]:
    texts = (row.query, row.positive or "", row.instruction or "", row.task, *row.negatives)
    # No text is empty, so empty ones separate negatives from their answers, and from scores.
    if row.negative_answers:
        texts = (*texts, "", *row.negative_answers)
    return (*texts, "", "", *map(repr, row.teacher_scores)) if row.teacher_scores else texts


def text_hash(*parts: str) -> int:
    """Return a 64-bit hash of texts in order; equal texts give equal numbers."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part.encode(errors="surrogatepass") + b"\0")
    return int.from_bytes(digest.digest(), "little")
