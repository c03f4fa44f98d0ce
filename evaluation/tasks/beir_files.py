"""Read a retrieval set in BEIR's layout, strictly (Thakur et al. 2021, arXiv 2104.08663).

A folder holds ``corpus.jsonl`` (``_id``, ``text``, maybe ``title``), ``queries.jsonl`` (``_id``,
``text``) and judgements: ``qrels.tsv``, or ``qrels/test.tsv`` as BEIR's archives have it.
Invariant: every judgement of a :class:`RetrievalSet` names a document and a query of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import EvaluationError
from .data_lines import columns, numbered_lines

_SHOWN = 3
_HIGHEST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalSet:
    """Documents, queries, and which document is relevant to which query.

    Queries without any judgement belong to another split and are never asked.

    Args:
        name: The name of the set.
        documents: The text of each id, in the order of the corpus; as in BEIR, a title and a space
            precede the text.
        queries: The text of each id.
        judgements: For each query id, the grade of each judged document; grades of zero or less
            are not relevant.

    Raises:
        EvaluationError: There are no documents, queries or relevant documents, a judgement names
            a document or query that is not here, or a grade is no whole number up to 1000.
    """

    name: str
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    judgements: Mapping[str, Mapping[str, int]]

    def __post_init__(self) -> None:
        for what, part in (("documents", self.documents), ("queries", self.queries)):
            if not part:
                raise EvaluationError(f"{self.name}: there are no {what}")
            ids: list[object] = [*part]
            if loose := [one for one in ids if not isinstance(one, str)]:
                raise EvaluationError(
                    f"{self.name}: ids of {what} must be strings, got {loose[0]!r}"
                )
        absent = [query for query in self.judgements if query not in self.queries]
        if absent:
            raise EvaluationError(
                f"{self.name}: the judgements name {_some(absent)}, which are no queries of the set"
            )
        lost = {
            document
            for grades in self.judgements.values()
            for document in grades
            if document not in self.documents
        }
        if lost:
            raise EvaluationError(
                f"{self.name}: the judgements name {_some(sorted(lost))}, which are no documents "
                "of the corpus; take the corpus that the judgements were made for"
            )
        for query, grades in self.judgements.items():
            for document, grade in grades.items():
                if not _whole(grade):
                    raise EvaluationError(
                        f"{self.name}: the grade of {query!r} and {document!r} is {grade!r}, not a "
                        f"whole number up to {_HIGHEST}"
                    )
        if not any(self.relevant(query) for query in self.judgements):
            raise EvaluationError(f"{self.name}: no query has a relevant document")

    def relevant(self, query: str) -> dict[str, int]:
        """Return the grades above zero of a judged query."""
        return {document: grade for document, grade in self.judgements[query].items() if grade > 0}


def _whole(grade: object) -> bool:
    # trec_eval counts documents for every grade up to the highest.
    return isinstance(grade, int) and grade <= _HIGHEST


def read_beir(folder: Path, *, name: str | None = None) -> RetrievalSet:
    """Read a folder in BEIR's layout, named after the folder by default.

    The judgements are lines of query id, document id and a whole number, with tabs between; a
    first line ``query-id corpus-id score`` is a heading.

    Raises:
        EvaluationError: A line is malformed, an id comes twice, a pair is judged twice, or as
            :class:`RetrievalSet`.
        OSError: A file cannot be read.
    """
    judged = folder / "qrels.tsv"
    if not judged.exists():
        judged = folder / "qrels" / "test.tsv"
    return RetrievalSet(
        name=folder.name if name is None else name,
        documents=_texts(folder / "corpus.jsonl", "documents"),
        queries=_texts(folder / "queries.jsonl", "queries"),
        judgements=_judgements(judged),
    )


def _texts(file: Path, what: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in numbered_lines(file):
        where = f"{file}:{number}"
        try:
            row: object = json.loads(line)
        except json.JSONDecodeError as error:
            raise EvaluationError(f"{where}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise EvaluationError(f"{where}: not a JSON object")
        key, body, title = row.get("_id"), row.get("text"), row.get("title") or ""
        if not isinstance(key, str) or not isinstance(body, str) or not isinstance(title, str):
            raise EvaluationError(
                f"{where}: _id, text and title must be strings, _id and text be there"
            )
        if key in found:
            raise EvaluationError(f"{where}: the id {key!r} comes a second time")
        found[key] = f"{title} {body}".strip() if title else body
    if not found:
        raise EvaluationError(f"{file}: there are no {what}")
    return found


def _judgements(file: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for number, line in numbered_lines(file):
        query, document, grade = columns(file, number, line, count=3)
        if number == 1 and grade.strip() == "score":
            continue
        try:
            value = int(grade)
        except ValueError as error:
            raise EvaluationError(
                f"{file}:{number}: the grade {grade!r} is not a whole number"
            ) from error
        grades = found.setdefault(query, {})
        if document in grades:
            raise EvaluationError(
                f"{file}:{number}: {query!r} and {document!r} are judged a second time"
            )
        grades[document] = value
    if not found:
        raise EvaluationError(f"{file}: there are no judgements")
    return found


def _some(items: Iterable[str]) -> str:
    """Return the first few items, and how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(map(repr, listed[:_SHOWN])) + more
