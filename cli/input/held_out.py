"""Evaluate on the held-out pairs of a training run, with their instructions.

An encoder searches all passages of the pairs. A reranker orders those of each query: its answers
and its negatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from decant.embedders import Role, Vectors

if TYPE_CHECKING:
    from decant.embedders import Encoder, Reranker, RerankRecipe, TorchEncoder
    from decant.evaluation import Embedder, Measurement, Retrieval, Task
    from decant.training import TrainingDataset

# Of so few passages all are among the first hundred.
_ALWAYS_WHOLE = "recall@100"


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
    task, instructions = _retrieval(table)
    return HeldOut(task=task, instructions=instructions)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutRanking:
    """A task in which a reranker orders the passages that the data have for each query.

    Args:
        task: The retrieval task, which measures the orders.
        candidates: The ids of the passages, by the text of their query.
        instructions: The instructions, by the text of their query.
        recipe: The recipe of the scores.
    """

    task: Retrieval
    candidates: Mapping[str, tuple[str, ...]]
    instructions: Mapping[str, str]
    recipe: RerankRecipe

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.task.name

    def score(self, embedder: Embedder) -> tuple[Measurement, ...]:
        """Return nDCG@10, MRR@10 and MAP; the embedder is the reranker's, see its ``encoder``."""
        from decant.embedders import TorchReranker

        return self.score_reranker(TorchReranker(cast("TorchEncoder", embedder), self.recipe))

    def score_reranker(self, reranker: Reranker) -> tuple[Measurement, ...]:
        """Return nDCG@10, MRR@10 and MAP of a reranker's orders."""
        from decant.embedders import best_first

        documents = self.task.data.documents

        def search(query: str, *, limit: int) -> list[tuple[str, float]]:
            ids = self.candidates[query]
            texts = [documents[one] for one in ids]
            task = self.instructions.get(query)
            scores = reranker.score(query, texts, instruction=task, raw=True)
            return [(ids[at], float(scores[at])) for at in best_first(scores)][:limit]

        found = self.task.score_search(search)
        return tuple(one for one in found if one.score.metric != _ALWAYS_WHOLE)


def held_out_ranking(table: TrainingDataset, recipe: RerankRecipe) -> list[Task]:
    """Return a task in which a reranker orders the positives and negatives of held-out queries.

    Args:
        table: The held-out rows; those without negatives have nothing to order.
        recipe: The recipe of the scores.

    Returns:
        The task; none if no row has negatives.
    """
    kept = np.array([at for at, row in enumerate(table) if row.negatives], np.int64)
    if not len(kept):
        return []
    rows = table.subset(kept)
    task, instructions = _retrieval(rows)
    numbers = {text: number for number, text in task.data.documents.items()}
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        # Negatives first: where a model scores all alike, the order given is not the right one.
        ids = [numbers[text] for text in (*row.negatives, row.positive or "")]
        found.setdefault(row.query, {}).update(dict.fromkeys(ids))
    candidates = {query: tuple(ids) for query, ids in found.items()}
    return [
        HeldOutRanking(task=task, candidates=candidates, instructions=instructions, recipe=recipe)
    ]


def _retrieval(table: TrainingDataset) -> tuple[Retrieval, dict[str, str]]:
    """Return the retrieval task of a table's rows, and the instructions of their queries."""
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
    return Retrieval(data=found), instructions
