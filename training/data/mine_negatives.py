"""Mine hard negatives: passages that are near a query, but not so near that they answer it.

A candidate is kept if its score is at most a share of the positive's score: TopK-PercPos of
NV-Retriever (Moreira et al., arXiv 2407.15831, section 4), with 95 %. The search itself is a
:class:`Searcher`'s. Invariant: the same rows, rankings and settings give the same file, which
appears whole or not at all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from decant.embedders import Progress

from ..errors import DataError, TrainingError
from .new_file import open_atomically, refuse_existing
from .row import Column, TrainingExample
from .table import TrainingDataset, text_hash

_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The result of a search for one row.

    Args:
        positive: The score of the row's query with its own positive.
        candidates: Texts with their scores, best first; the positive may be among them.
    """

    positive: float
    candidates: Sequence[tuple[str, float]]


class Searcher(Protocol):
    """Finds passages that are near to queries."""

    def search(self, rows: Sequence[TrainingExample], *, limit: int) -> Iterable[Ranking]:
        """Return a ranking of at most ``limit`` passages for each row, by the row's query.

        All scores are of one kind, that of the positive too: higher is nearer, as cosines are.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mining:
    """Settings of mining: which candidates become negatives.

    Args:
        count: The most negatives that a row gets.
        max_positive_ratio: A candidate whose score exceeds this share of the positive's score is
            taken for an answer and left out.
        skip: How many of the best candidates are passed over. Positives of the query, the query
            itself and negatives that the row already has are never candidates.
        depth: How many results of a search are considered.
    """

    count: int = 4
    max_positive_ratio: float = 0.95
    skip: int = 0
    depth: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.max_positive_ratio <= 1:
            raise TrainingError(
                f"max_positive_ratio must be above 0 and at most 1, got {self.max_positive_ratio}"
            )
        if self.count < 1 or self.skip < 0:
            raise TrainingError(
                f"count must be at least 1 and skip at least 0, got {self.count} and {self.skip}"
            )
        if self.depth < self.count + self.skip:
            raise TrainingError(
                f"depth must be at least count + skip = {self.count + self.skip}, got {self.depth}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """The outcome of mining.

    Args:
        rows: How many rows were written; all rows are.
        negatives: For each number of new negatives, how many rows got that many.
    """

    rows: int
    negatives: Mapping[int, int]

    @property
    def without(self) -> int:
        """The number of rows that got no negatives."""
        return self.negatives.get(0, 0)


def mine(
    table: TrainingDataset,
    searcher: Searcher,
    target: Path,
    mining: Mining,
    *,
    progress: Progress | None = None,
) -> Mined:
    """Write every row with hard negatives, as JSON lines that :func:`read_table` reads.

    A row keeps its own negatives, and mined ones follow them. Rows without negatives are written,
    too: contrastive training still has the in-batch negatives for them.

    Args:
        table: Rows with positives.
        searcher: Ranks passages for them.
        target: The file to write.
        mining: Which candidates are taken.
        progress: Called with the number of newly finished rows.

    Raises:
        TrainingError: ``target`` exists.
        DataError: A row has no positive, has answers of negatives or scores of a teacher, or gets a
            score of NaN.
    """
    refuse_existing(target)
    answers, fields = _answers(table)
    counts: Counter[int] = Counter()
    with open_atomically(target) as file:
        for begin in range(0, len(table), _BATCH):
            rows = list(table[begin : begin + _BATCH])
            found = searcher.search(rows, limit=mining.depth)
            for row, ranking in zip(rows, found, strict=True):
                negatives = choose_negatives(
                    row, ranking, mining, answers=answers[text_hash(row.query)]
                )
                counts[len(negatives)] += 1
                line = _line(row, negatives, fields)
                file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            if progress is not None:
                progress(len(rows))
    return Mined(rows=len(table), negatives=dict(sorted(counts.items())))


def choose_negatives(
    row: TrainingExample, ranking: Ranking, mining: Mining, *, answers: frozenset[int] | set[int]
) -> list[str]:
    """Return the negatives that one row gets, nearest first.

    Args:
        row: The row, with the negatives that it already has.
        ranking: The search result for its query.
        mining: Which candidates are taken.
        answers: :func:`text_hash` of all positives of the query's text.

    Raises:
        DataError: The score of the positive or a candidate is NaN.
    """
    # A share of a negative score is higher than the score: never take more than the positive has.
    highest = min(mining.max_positive_ratio * ranking.positive, ranking.positive)
    seen = {row.query, row.positive, *row.negatives}
    found: list[str] = []
    passed = 0
    for text, score in ranking.candidates:
        if score != score or highest != highest:  # noqa: PLR0124 - NaN differs from itself
            raise DataError(f"{row.place}: the search gave a score of NaN")
        if text in seen or text_hash(text) in answers:
            continue
        seen.add(text)
        passed += 1
        if passed > mining.skip and score <= highest:
            found.append(text)
        if len(found) == mining.count:
            break
    return found


def _answers(table: TrainingDataset) -> tuple[dict[int, set[int]], list[Column]]:
    """Return the hashes of each query's positives, and which optional columns some row has."""
    answers: dict[int, set[int]] = {}
    held: set[Column] = set()
    for row in table:
        if row.positive is None:
            raise DataError(
                f"{row.place}: there is no positive, with whose score candidates are compared"
            )
        if row.teacher_scores:
            raise DataError(
                f"{row.place}: there are teacher_scores, and mined negatives would have none; mine "
                "negatives first, then let the teacher score them"
            )
        if row.negative_answers:
            raise DataError(
                f"{row.place}: the negatives have answers, and mined ones would have none; mine "
                "negatives first, then generate their answers"
            )
        answers.setdefault(text_hash(row.query), set()).add(text_hash(row.positive))
        held.update(field for field in _CARRIED if _value(row, field) is not None)
    return answers, [field for field in _CARRIED if field in held]


_CARRIED = (Column.SCORE, Column.INSTRUCTION, Column.TASK, Column.GROUP)


def _value(row: TrainingExample, field: Column) -> str | float | None:
    value: str | float | None = getattr(row, field)
    return None if value == "" else value


def _line(
    row: TrainingExample, negatives: Sequence[str], fields: Sequence[Column]
) -> dict[str, object]:
    # All lines have the same keys: readers take the columns from the first line.
    return {
        Column.QUERY.value: row.query,
        Column.POSITIVE.value: row.positive,
        Column.NEGATIVES.value: [*row.negatives, *negatives],
        **{field.value: _value(row, field) for field in fields},
    }
