"""Generate training data with a language model: answers to texts, or queries for passages.

LLM2Vec-Gen learns from a model's own answers to questions (arXiv 2603.10913, section 3.1); queries
for the passages of a corpus make pairs. During a run, its answers are in ``<target>.partial``,
batch by batch. Invariant: the same model, texts and settings give the same
file on the same machine, whether the run was interrupted or not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never, cast

import numpy as np

from decant.embedders import Progress
from decant.embedders.json_records import to_json

from ..errors import TrainingError
from .generation_settings import Answer, GenerationSettings, OutputColumn
from .new_file import open_atomically, refuse_existing
from .table import TrainingDataset

if TYPE_CHECKING:
    from .text_generator import TextGenerator


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """The outcome of a run.

    Args:
        rows: Texts with an answer, which are in the file.
        empty: Texts to which the model gave an empty answer, which are left out.
        cut: Texts that were too long, so that their end was left out of the prompt.
    """

    rows: int
    empty: int
    cut: int


def generate(
    speaker: TextGenerator,
    table: TrainingDataset,
    target: Path,
    generating: GenerationSettings,
    *,
    progress: Progress | None = None,
) -> Generated:
    """Let a model answer every text, and write JSON lines that :func:`read_table` reads.

    A run that was interrupted resumes with its first unfinished batch when it is started again with
    the same model, texts and settings.

    Args:
        speaker: The model.
        table: The texts, which are the queries of its rows.
        target: The file to write; ``<target>.partial`` holds the run until it is done.
        generating: Prompt, lengths and sampling.
        progress: Called with the number of newly finished texts; first with those done before.

    Raises:
        TrainingError: ``target`` exists, an interrupted run had other settings, a prompt does not
            fit, or every answer is empty.
    """
    refuse_existing(target)
    speaker.prompt(table[0].query, generating)  # raises for a bad prompt, before any file is made
    partial = target.with_name(f"{target.name}.partial")
    size = generating.batch_size
    done = _resume(partial, _run_identity(speaker, table, generating), len(table), size)
    if progress is not None and done:
        progress(done)
    with partial.open("ab") as file:
        for begin in range(done, len(table), size):
            texts = [row.query for row in table[begin : begin + size]]
            answers = speaker.answer(texts, generating, seed=_seed(generating.seed, begin // size))
            # One write: if it is interrupted, its part is cut off when the run resumes.
            file.write("".join(f"{_json(answer)}\n" for answer in answers).encode())
            file.flush()
            if progress is not None:
                progress(len(texts))
    return _finish(partial, target, generating.written)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunIdentity:
    """Everything that identifies a run: a run is resumed only if all of it is equal."""

    model: str
    revision: str
    precision: str
    settings: GenerationSettings
    texts: int
    data: str


def _run_identity(
    speaker: TextGenerator, table: TrainingDataset, generating: GenerationSettings
) -> _RunIdentity:
    return _RunIdentity(
        model=speaker.source.base,
        revision=speaker.source.revision,
        precision=speaker.precision.value,
        settings=generating,
        texts=len(table),
        data=table.digest(),
    )


def _seed(seed: int, batch: int) -> int:
    # Not their sum: batch 1 of seed 0 must not be batch 0 of seed 1.
    return int(np.random.SeedSequence([seed, batch]).generate_state(1)[0])


def _json(value: object) -> str:
    return json.dumps(json.loads(to_json(value)), ensure_ascii=False)


def _resume(partial: Path, identity: _RunIdentity, texts: int, size: int) -> int:
    """Start a run's file, or cut one to its complete batches; return how many texts are done."""
    first = _json(identity)
    begun = partial.read_bytes() if partial.exists() else b""
    head, newline, rest = begun.partition(b"\n")
    if not newline:
        partial.write_text(f"{first}\n", encoding="utf-8")
        return 0
    held, wanted = _object(head, partial), json.loads(first)
    if other := [name for name in wanted if held.get(name) != wanted[name]]:
        raise TrainingError(
            f"{partial} holds a run that was begun with other {', '.join(other)}; delete the file "
            "to start again, or use the same settings to resume it"
        )
    lines = rest.split(b"\n")[:-1]
    kept = len(lines) if len(lines) == texts else len(lines) // size * size
    whole = b"".join(line + b"\n" for line in (head, *lines[:kept]))
    if whole != begun:
        with open_atomically(partial) as file:
            file.write(whole)
    return kept


def _finish(partial: Path, target: Path, written: OutputColumn) -> Generated:
    rows = empty = cut = 0
    with open_atomically(target) as file:
        for answer in _answers(partial):
            cut += answer.cut
            if not answer.response:
                empty += 1
                continue
            rows += 1
            line = json.dumps(_row(answer, written), ensure_ascii=False)
            file.write(line.encode() + b"\n")
        if not rows:
            partial.unlink()
            raise TrainingError(
                f"the model gave an empty answer to all {empty} texts; give a template with a "
                "question, or another model"
            )
    partial.unlink()
    return Generated(rows=rows, empty=empty, cut=cut)


def _answers(partial: Path) -> Iterator[Answer]:
    with partial.open("rb") as file:
        next(file)
        for line in file:
            held = _object(line, partial)
            yield Answer(
                query=str(held["query"]), response=str(held["response"]), cut=held["cut"] is True
            )


def _row(answer: Answer, written: OutputColumn) -> dict[str, str]:
    match written:
        case OutputColumn.RESPONSE:
            return {"query": answer.query, "response": answer.response}
        case OutputColumn.QUERY:
            return {"query": answer.response, "positive": answer.query}
        case _:
            assert_never(written)


def _object(line: bytes, partial: Path) -> dict[str, object]:
    try:
        found: object = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise TrainingError(f"{partial} is not a run of decant; delete it, or choose another name")
    return cast("dict[str, object]", found)
