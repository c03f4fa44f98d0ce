"""Queries with the passages or sources that answer them, and files of such queries.

A file has a JSON object ``{"query": "…", "relevant": ["id or source", …]}`` on each line;
``relevant`` may also map each of them to a grade. A folder is in BEIR's layout: ``queries.jsonl``
and judgements in ``qrels.tsv`` or ``qrels/*.tsv``; its corpus is not read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..stores.input_errors import StoreInputError

_HIGHEST = 1_000_000  # grade


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledQuery:
    """A query, and what answers it.

    Args:
        text: The query.
        relevant: For each relevant passage its grade, 1 or more. A key is the id of a passage, or
            else a source, of whose passages the best counts.

    Raises:
        StoreInputError: The text is blank, or a grade is no whole number above zero.
    """

    text: str
    relevant: Mapping[str, int]

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise StoreInputError("a labelled query is blank; give the text that was searched for")
        relevant: object = self.relevant
        if not isinstance(relevant, Mapping):
            raise StoreInputError(
                f"relevant maps ids or sources to grades, such as {{'a.md': 1}}, got {relevant!r}"
            )
        object.__setattr__(self, "relevant", dict(self.relevant))
        for key, grade in self.relevant.items():
            if type(grade) is not int or not 1 <= grade <= _HIGHEST:
                raise StoreInputError(
                    f"the query {self.text!r} has {key!r} with a grade that is no whole number "
                    f"from 1 to {_HIGHEST:,}"
                )


def read_labelled_queries(place: Path) -> list[LabelledQuery]:
    """Read labelled queries from a file of JSON lines, or from a folder in BEIR's layout.

    Judgements with a grade of zero or less are left out. Queries without any judgement belong to
    another split and are left out, too.

    Raises:
        StoreInputError: A line is malformed; the message names it. Or nothing is there.
        OSError: A file cannot be read.
    """
    found = [*(_from_folder(place) if place.is_dir() else _from_lines(place))]
    if not found:
        raise StoreInputError(f"{place} holds no labelled queries")
    return found


def _from_lines(file: Path) -> Iterator[LabelledQuery]:
    for where, line in _lines(file):
        row = _object(line, where)
        text, relevant = row.get("query"), row.get("relevant")
        if isinstance(relevant, list) and all(isinstance(key, str) for key in relevant):
            relevant = dict.fromkeys(relevant, 1)
        if not isinstance(text, str) or not isinstance(relevant, dict):
            raise StoreInputError(
                f'{where}: expected {{"query": "…", "relevant": ["id or source", …]}}, where '
                "relevant may also map each to a grade"
            )
        held = {key: one for key, one in relevant.items() if type(one) is not int or one > 0}
        try:
            yield LabelledQuery(text=text, relevant=held)
        except StoreInputError as error:
            raise StoreInputError(f"{where}: {error}") from error


def _from_folder(folder: Path) -> Iterator[LabelledQuery]:
    judged = folder / "qrels.tsv"
    files = [judged] if judged.exists() else sorted((folder / "qrels").glob("*.tsv"))
    if not files:
        raise StoreInputError(f"{folder} holds no qrels.tsv and no qrels/*.tsv")
    grades: dict[str, dict[str, int]] = {}
    for file in files:
        for where, line in _lines(file):
            query, key, grade = _judgement(line, where)
            if grade is not None:
                grades.setdefault(query, {})[key] = grade
    texts: dict[str, str] = {}
    for where, line in _lines(folder / "queries.jsonl"):
        row = _object(line, where)
        name, text = row.get("_id"), row.get("text")
        if not isinstance(name, str) or not isinstance(text, str):
            raise StoreInputError(f"{where}: _id and text must be strings")
        texts[name] = text
    for query, judgements in grades.items():
        if query not in texts:
            raise StoreInputError(
                f"{folder}: the judgements name the query {query!r}, which queries.jsonl lacks"
            )
        relevant = {key: grade for key, grade in judgements.items() if grade > 0}
        yield LabelledQuery(text=texts[query], relevant=relevant)


def _judgement(line: str, where: str) -> tuple[str, str, int | None]:
    """Return query, document and grade of a line; the grade of a heading is None."""
    cells = line.split("\t")
    if len(cells) != 3:
        raise StoreInputError(
            f"{where}: expected a query id, a document id and a grade with tabs between"
        )
    query, key, grade = cells
    if grade.strip() == "score":
        return query, key, None
    try:
        return query, key, int(grade)
    except ValueError as error:
        raise StoreInputError(f"{where}: the grade {grade!r} is not a whole number") from error


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines of a file that are not blank, each after its place for messages."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StoreInputError(f"{file} is not UTF-8: {error}") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{file}:{number}", line.rstrip("\r")


def _object(line: str, where: str) -> dict[str, object]:
    try:
        row: object = json.loads(line)
    except ValueError as error:
        raise StoreInputError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise StoreInputError(f"{where}: not a JSON object")
    return row
