"""Evaluate retrieval on the held-out pairs of a training run, with their instructions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from decant.embedders import Role, Vectors

if TYPE_CHECKING:
    from decant.embedders import Encoder
    from decant.evaluation import Embedder, Measurement, Retrieval
    from decant.training import TrainingDataset


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A retrieval task that embeds queries with the instructions of training.

    Args:
        task: The retrieval task.
        instructions: The instructions, by the text of their query.
    """

    task: Retrieval
    instructions: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.task.name

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return what the task measures; the embedder takes instructions if there are any."""
        if not self.instructions:
            return self.task.score(embedder)
        return self.task.score(_Instructed(cast("Encoder", embedder), self.instructions))


class _Instructed:
    """An encoder that gives each query its own instruction."""

    def __init__(self, encoder: Encoder, instructions: Mapping[str, str]) -> None:
        self._encoder = encoder
        self._instructions = instructions

    def encode(self, texts: Iterable[str], *, role: Role) -> Vectors:
        """Return float32 (N, D) in the order of the texts."""
        listed = list(texts)
        if role is Role.PASSAGE:
            return self._encoder.encode(listed, role=role)
        places: dict[str | None, list[int]] = {}
        for place, text in enumerate(listed):
            places.setdefault(self._instructions.get(text), []).append(place)
        dense = np.empty((len(listed), self._encoder.dim), np.float32)
        for instruction, held in places.items():
            queries = [listed[place] for place in held]
            dense[held] = self._encoder.encode(queries, role=role, instruction=instruction).dense
        return Vectors(dense=dense)


def held_out_task(table: TrainingDataset) -> HeldOut:
    """Return a task in which held-out queries search all positives and hard negatives.

    Queries of the same text count once, with the first of their instructions.
    """
    from decant.evaluation import Retrieval, RetrievalSet

    numbers: dict[str, str] = {}
    queries: dict[str, str] = {}
    judgements: dict[str, dict[str, int]] = {}
    asked: dict[str, str] = {}
    instructions: dict[str, str] = {}
    for row in table:
        for text in (row.positive or "", *row.negatives):
            numbers.setdefault(text, f"d{len(numbers)}")
        query = asked.setdefault(row.query, f"q{len(asked)}")
        queries[query] = row.query
        judgements.setdefault(query, {})[numbers[row.positive or ""]] = 1
        if row.instruction is not None:
            instructions.setdefault(row.query, row.instruction)
    documents = {number: text for text, number in numbers.items()}
    found = RetrievalSet(
        name="held out", documents=documents, queries=queries, judgements=judgements
    )
    return HeldOut(task=Retrieval(data=found), instructions=instructions)
