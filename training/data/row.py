"""One row of training data, and how the columns of a file become its fields.

Nothing reads files here. Invariant: the texts of a row are not blank, and its score is finite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, cast

from ..errors import DataError

_SKIPPED = "-"


class Column(StrEnum):
    """The content of a column."""

    QUERY = "query"
    POSITIVE = "positive"
    NEGATIVES = "negatives"
    NEGATIVE_ANSWERS = "negative_answers"
    TEACHER_SCORES = "teacher_scores"
    SCORE = "score"
    INSTRUCTION = "instruction"
    TASK = "task"
    GROUP = "group"


# Common names of the columns in data sets, sentence-transformers' names among them.
_ALSO = {
    Column.QUERY: ("query", "anchor", "question", "text", "sentence", "sentence1", "context"),
    Column.POSITIVE: (
        "positive", "passage", "document", "answer", "response", "output", "sentence2",
    ),
    Column.NEGATIVES: ("negatives", "negative", "hard_negative", "hard_negatives"),
    Column.NEGATIVE_ANSWERS: ("negative_answers", "negative_answer"),
    Column.TEACHER_SCORES: ("teacher_scores",),
    Column.SCORE: ("score", "similarity"),
    Column.INSTRUCTION: ("instruction",),
    Column.TASK: ("task",),
    Column.GROUP: ("group",),
}  # fmt: skip
_SEVERAL = (Column.NEGATIVES, Column.NEGATIVE_ANSWERS)
_NUMBERS = (Column.SCORE, Column.TEACHER_SCORES)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingExample:
    """One row of training data.

    Args:
        query: The only text, the first of a pair, or a question.
        positive: A text that belongs to the query: a passage, a paraphrase, an answer.
        negatives: Hard negatives: texts that do not belong to the query but look as if they did.
        negative_answers: If the negatives are questions, an answer to each of them.
        teacher_scores: What another reranker scores the positive, and then each negative.
        score: The similarity of query and positive, on any scale.
        instruction: The task of this query, for models that take an instruction.
        task: The name of a task; all rows of a batch have the same task.
        group: The name of a group; all rows of a group are on the same side of a split.
        place: File and line, for error messages.
    """

    query: str
    positive: str | None = None
    negatives: tuple[str, ...] = ()
    negative_answers: tuple[str, ...] = ()
    teacher_scores: tuple[float, ...] = ()
    score: float | None = None
    instruction: str | None = None
    task: str = ""
    group: str | None = None
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column of a file holds what.

    Args:
        names: The name of each column in the file; negatives and their answers may have several.
        order: The columns of a file without a header line, in order; ``-`` skips a column.

    >>> Columns.parse("score,query,positive").order
    ('score', 'query', 'positive')
    >>> Columns.parse("query=question").names
    {<Column.QUERY: 'query'>: ('question',)}
    """

    names: Mapping[Column, tuple[str, ...]]
    order: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``field=column,…`` (for files that name their columns) or ``field,field,…``.

        Raises:
            DataError: A column is unknown, both forms are mixed, or a column is named twice.
        """
        parts = [part.strip() for part in text.split(",")]
        pairs = [part.partition("=") for part in parts]
        named = [bool(equals) for _, equals, _ in pairs]
        if any(named) and not all(named):
            raise DataError(
                f"columns {text!r} mix two forms; write 'query=question,positive=answer' for files "
                "with a header line, or 'score,query,positive' for files without one"
            )
        fields = [None if name == _SKIPPED else _field(name) for name, _, _ in pairs]
        known = [field for field in fields if field is not None]
        for field in known:
            if known.count(field) > 1 and field not in _SEVERAL:
                raise DataError(f"columns {text!r} name {field} twice")
        if not all(named):
            return cls(names={field: (field.value,) for field in known}, order=tuple(parts))
        names: dict[Column, tuple[str, ...]] = {}
        for field, (_, _, column) in zip(known, pairs, strict=True):
            names[field] = (*names.get(field, ()), column)
        return cls(names=names)

    @classmethod
    def recognise(cls, header: Sequence[str], *, where: str) -> Self:
        """Return the columns of a file, recognised by the names that data sets commonly use.

        Raises:
            DataError: Two columns of the file have names for the same thing.
        """
        names: dict[Column, tuple[str, ...]] = {}
        for field, also in _ALSO.items():
            plain = tuple(name for name in header if name.lower() in also)
            if field in _SEVERAL:
                plain = _negatives(header, field)
            elif len(plain) > 1:
                raise DataError(
                    f"{where}: the columns {', '.join(plain)} could all be the {field}; name the "
                    f"right one (columns '{field}={plain[0]}')"
                )
            if plain:
                names[field] = plain
        return cls(names=names)

    def row(self, values: Mapping[str, object], *, place: str) -> TrainingExample:
        """Return the row of one line.

        Raises:
            DataError: A text is blank or not a string, or a score is not a finite number.
        """
        texts = {
            field: _text(values[name], field, place)
            for field, (name, *_) in self.names.items()
            if field not in (*_SEVERAL, *_NUMBERS) and values.get(name) is not None
        }
        if Column.QUERY not in texts:
            wanted = ", ".join(self.names.get(Column.QUERY, ("query",)))
            raise DataError(f"{place}: there is no {wanted}; every row needs one")
        score = None
        if (column := self.names.get(Column.SCORE)) and values.get(column[0]) is not None:
            score = _number(values[column[0]], place)
        negatives, answers = (
            tuple(
                text
                for name in self.names.get(field, ())
                for text in _texts(values.get(name), field, place)
            )
            for field in _SEVERAL
        )
        if answers and len(answers) != len(negatives):
            raise DataError(
                f"{place}: {len(negatives)} negatives and {len(answers)} answers of negatives; "
                "give one answer for each negative, or leave them out"
            )
        scores = tuple(
            number
            for name in self.names.get(Column.TEACHER_SCORES, ())
            for number in _numbers(values.get(name), place)
        )
        if scores and len(scores) != 1 + len(negatives):
            raise DataError(
                f"{place}: {len(scores)} teacher_scores for a positive and {len(negatives)} "
                "negatives; give one for the positive and then one for each negative"
            )
        return TrainingExample(
            query=texts[Column.QUERY],
            positive=texts.get(Column.POSITIVE),
            negatives=negatives,
            negative_answers=answers,
            teacher_scores=scores,
            score=score,
            instruction=texts.get(Column.INSTRUCTION),
            task=texts.get(Column.TASK, ""),
            group=texts.get(Column.GROUP),
            place=place,
        )


def _field(name: str) -> Column:
    try:
        return Column(name.strip())
    except ValueError as error:
        raise DataError(
            f"{name!r} is not a column that decant knows; known are {', '.join(Column)}"
        ) from error


def _text(value: object, field: Column, place: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{place}: the {field} should be a text, found {value!r}")
    if not value.strip():
        raise DataError(f"{place}: the {field} is empty; fill it in or delete the line")
    return value


def _negatives(header: Sequence[str], field: Column) -> tuple[str, ...]:
    """Return the columns of negatives, or of their answers if there are both.

    If there are answers only, they are the negatives: passages that answer another question.
    """
    named = [name for name in header if name.lower().startswith("negative")]
    answers = [name for name in named if name.lower() in _ALSO[Column.NEGATIVE_ANSWERS]]
    if len(answers) == len(named):
        answers = []
    if field is Column.NEGATIVE_ANSWERS:
        return tuple(answers)
    return tuple(name for name in named if name not in answers)


def _texts(value: object, field: Column, place: str) -> list[str]:
    if value is None or value == "":
        return []
    parts = cast("list[object]", value) if isinstance(value, list) else [value]
    return [_text(part, field, place) for part in parts]


def _numbers(value: object, place: str) -> list[float]:
    if value is None or value == "":
        return []
    parts = cast("list[object]", value) if isinstance(value, list) else [value]
    return [_number(part, place) for part in parts]


def _number(value: object, place: str) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise DataError(f"{place}: the score should be a finite number, found {value!r}")
    return number
