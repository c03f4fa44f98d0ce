"""From a query and the passages of a request to their scores: check, count, join, score, hand out.

Pairs of several requests share a pass, unless the reranker computes a query once for all of its
passages: then a pass has pairs of one query, and queries take turns.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from decant.embedders import RerankRecipe
from decant.embedders.rerankers import activated

from ..batches import Pair, PairKey, QueueSettings, Work
from ..errors import RequestError, TextRefused
from .embedding_service import TextLimits, all_results
from .model_address import ModelDirectory
from .model_workers import ModelWorkers, OnPass, PassRunner
from .served_reranker import ServedReranker

_AT_ONCE = 4_096  # characters that are tokenised in less time than a thread takes to begin


@dataclass(frozen=True, slots=True, kw_only=True)
class PairGroup:
    """A query, and passages that are scored under it."""

    query: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankRequest:
    """What a client wants to know of a reranker.

    Args:
        model: The reranker.
        groups: Queries with their passages; each has at least one.
        instruction: The task, in place of the recipe's own; None: the recipe's.
        truncate: Whether a pair that is too long loses the end of its passage; if not, it is
            refused.
        text_tokens: The most tokens of each passage that are read; None: as many as fit.
        first: The client's number of the first passage, for messages.

    Raises:
        InstructionRefused: The model takes no instruction, or it is blank.
    """

    model: ServedReranker
    groups: tuple[PairGroup, ...]
    instruction: str | None = None
    truncate: bool = True
    text_tokens: int | None = None
    first: int = 0

    def __post_init__(self) -> None:
        self.model.check_instruction(self.instruction)

    @property
    def texts(self) -> list[str]:
        """The passages of all queries, in order."""
        return [text for group in self.groups for text in group.texts]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """The answer to a request.

    Args:
        raw: The raw score of each passage, float32, in the order of the request.
        recipe: What turns them into scores.
        tokens: How many tokens the model read.
    """

    raw: NDArray[np.float32]
    recipe: RerankRecipe
    tokens: int

    @property
    def scores(self) -> NDArray[np.float32]:
        """The scores, as ``reranker.score`` gives them."""
        return activated(self.raw, self.recipe.activation)


class RerankService:
    """Scores the pairs of requests with the rerankers of a server; an async context manager.

    Args:
        models: The models.
        queue: How much may wait for each reranker, and how it is cut into passes.
        limits: How much one request may ask for.
        on_pass: Called with a model's name after each of its passes.

    Attributes:
        workers: The worker of each reranker, by name; empty before the service begins.
    """

    def __init__(
        self,
        models: ModelDirectory,
        *,
        queue: QueueSettings,
        limits: TextLimits,
        on_pass: OnPass | None = None,
    ) -> None:
        self._limits = limits
        runners = {
            one.name: PassRunner(run=one.score, pass_tokens=one.pass_tokens)
            for one in models.rerankers
        }
        self.workers = ModelWorkers[PairKey, Pair](runners, queue, on_pass)

    async def __aenter__(self) -> Self:
        """Start the workers."""
        await self.workers.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Answer everything that was accepted, and stop the workers."""
        await self.workers.__aexit__()

    async def score(self, wanted: RerankRequest) -> Scores:
        """Return the scores of the passages of one request, in its order.

        Raises:
            RequestError: A query or a text is empty or cannot be scored, or is too long and must
                not be cut; the message holds its index and nothing of it.
            RequestTooLarge: There are too many texts or tokens, or one has too many bytes.
            Overloaded: The queue of the model is full.
            ServerStopping: The server takes nothing new.
        """
        worker = self.workers.get(wanted.model.name)
        if worker is None:
            raise RuntimeError("enter the service before it scores")
        size = sum(len(group.query) for group in wanted.groups) + sum(map(len, wanted.texts))
        if size <= _AT_ONCE:
            works = self._works(wanted)
        else:
            works = await asyncio.to_thread(self._works, wanted)
        tokens = sum(work.total for work in works)
        worker.check_size(tokens)
        found = await all_results([worker.encode(work) for work in works])
        raw = np.concatenate([vectors.dense[:, 0] for vectors in found])
        return Scores(raw=raw, recipe=wanted.model.reranker.recipe, tokens=tokens)

    def _works(self, wanted: RerankRequest) -> list[Work[PairKey, Pair]]:
        """Return the pairs of a request by key, in its order, tokens counted.

        Pairs of one query stand together, so consecutive groups with equal keys make one work.
        """
        model, instruction = wanted.model, wanted.instruction
        self._limits.check(wanted.texts, first=wanted.first)
        pairs: list[Pair] = []
        for group in wanted.groups:
            if not group.query:
                raise TextRefused(f"the query of text {wanted.first + len(pairs)} is empty")
            self._limits.check_size(group.query, "the query")
            texts = group.texts
            if wanted.text_tokens is not None:
                texts = model.cut_texts(texts, tokens=wanted.text_tokens)
            pairs += [(group.query, text) for text in texts]
        tokens = model.count_tokens(pairs, instruction=instruction, first=wanted.first)
        if not wanted.truncate:
            model.check_lengths(pairs, instruction=instruction, first=wanted.first)
        keys = [model.key(group.query, instruction) for group in wanted.groups]
        works: list[Work[PairKey, Pair]] = []
        start = stop = 0
        for place, group in enumerate(wanted.groups):
            stop += len(group.texts)
            if place + 1 == len(keys) or keys[place + 1] != keys[place]:
                part = slice(start, stop)
                works.append(Work(key=keys[place], texts=tuple(pairs[part]), tokens=tokens[part]))
                start = stop
        if not works:
            raise RequestError("the request has no pairs")
        return works
