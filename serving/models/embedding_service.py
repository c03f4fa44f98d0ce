"""From the texts of a request to their vectors: check, count, join, encode, and hand out.

Equal texts of a request that differ only in the vectors that are wanted are read once: dense,
sparse and token vectors of a text come from one pass, and its tokens are counted once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Self, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Output, Vectors
from decant.embedders.encoding import cut

from ..batches import BatchWorker, PassKey, PassReport, QueueSettings, Work
from ..errors import RequestTooLarge, SettingsError, TextRefused
from .model_address import ModelDirectory, VectorKind
from .served_model import ServedModel
from .text_request import TextRequest

# So few characters are tokenised in less time than a thread takes to begin.
_AT_ONCE = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLimits:
    """How much one request may ask for.

    Args:
        texts: The most texts.
        text_bytes: The most bytes of one text, in UTF-8.

    Raises:
        SettingsError: A number is below 1.
    """

    texts: int = 10_000
    text_bytes: int = 1_048_576

    def __post_init__(self) -> None:
        for name in ("texts", "text_bytes"):
            if (value := getattr(self, name)) < 1:
                raise SettingsError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseEmbedding:
    """A sparse vector: int64 indices in ascending order, and the float32 value of each."""

    indices: NDArray[np.int64]
    values: NDArray[np.float32]


Embedding: TypeAlias = NDArray[np.float32] | SparseEmbedding
"""Dense (D,), token embeddings (T, d), or a sparse vector."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embeddings:
    """The answer to a request.

    Args:
        rows: The vector of each text, in the order of the request.
        tokens: How many tokens each model read, by its name.
    """

    rows: tuple[Embedding, ...]
    tokens: Mapping[str, int]


class EmbeddingService:
    """Embeds the texts of requests with the models of a server; an async context manager.

    Args:
        models: The models.
        queue: How much may wait for each model, and how it is cut into passes.
        limits: How much one request may ask for.
        on_pass: Called with a model's name after each of its passes.
    """

    def __init__(
        self,
        models: ModelDirectory,
        *,
        queue: QueueSettings,
        limits: TextLimits,
        on_pass: Callable[[str, PassReport], object] | None = None,
    ) -> None:
        self.models = models
        self._queue = queue
        self._limits = limits
        self._on_pass = on_pass
        self._workers: dict[str, BatchWorker] = {}
        self._running = AsyncExitStack()

    @property
    def is_ready(self) -> bool:
        """Whether every model takes texts."""
        return bool(self._workers) and all(one.is_running for one in self._workers.values())

    @property
    def workers(self) -> Mapping[str, BatchWorker]:
        """The worker of each model, by name; empty before the service begins."""
        return self._workers

    @property
    def limits(self) -> TextLimits:
        """How much one request may ask for."""
        return self._limits

    async def __aenter__(self) -> Self:
        """Start the workers."""
        for model in self.models:
            queue = replace(self._queue, pass_tokens=self._queue.pass_tokens or model.pass_tokens)
            worker = BatchWorker(model.encode, queue, on_pass=self._observer(model.name))
            self._workers[model.name] = await self._running.enter_async_context(worker)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Answer everything that was accepted, and stop the workers."""
        await self._running.aclose()

    async def embed(self, wanted: Sequence[TextRequest]) -> Embeddings:
        """Return the vectors of the texts of one request, in its order.

        Raises:
            RequestError: A text is empty, too long or cannot be embedded; the message holds its
                index and nothing of it.
            RequestTooLarge: There are too many texts or tokens.
            Overloaded: The queue of a model is full.
            ServerStopping: The server takes nothing new.
        """
        self._check([one.text for one in wanted])
        batches = await self._batches(wanted)
        for name, tokens in _tokens_by_model(batches).items():
            self._workers[name].check_size(tokens)
        found = await _all([self._encode(batch) for batch in batches])
        rows: list[Embedding | None] = [None] * len(wanted)
        for batch, vectors in zip(batches, found, strict=True):
            for place, index in batch.places:
                rows[place] = _row(vectors, index, wanted[place])
        complete = tuple(row for row in rows if row is not None)
        assert len(complete) == len(wanted)
        return Embeddings(rows=complete, tokens=_tokens_by_model(batches))

    async def encode(
        self, model: ServedModel, texts: Sequence[str], key: PassKey, *, first: int = 0
    ) -> Vectors:
        """Return the vectors of texts that all want the same of one model, in their order.

        Args:
            model: One of the models.
            texts: At least one text.
            key: How they are encoded.
            first: The client's number of the first text, for messages.

        Raises:
            RequestError: As :meth:`embed`; or the model takes no such instruction.
            RequestTooLarge: As :meth:`embed`.
            Overloaded: As :meth:`embed`.
            ServerStopping: As :meth:`embed`.
        """
        self._check(texts, first=first)
        model.check_outputs(key.outputs)
        model.check_instruction(key)
        numbers = range(first, first + len(texts))
        if sum(map(len, texts)) <= _AT_ONCE:
            tokens = model.count_tokens(texts, key, numbers=numbers)
        else:
            tokens = await asyncio.to_thread(model.count_tokens, texts, key, numbers=numbers)
        work = Work(key=key, texts=tuple(texts), tokens=tokens)
        return await self._workers[model.name].encode(work)

    def _observer(self, name: str) -> Callable[[PassReport], object] | None:
        on_pass = self._on_pass
        return None if on_pass is None else lambda report: on_pass(name, report)

    def _check(self, texts: Sequence[str], *, first: int = 0) -> None:
        if not self._workers:
            raise RuntimeError("enter the service before it embeds")
        if len(texts) > self._limits.texts:
            raise RequestTooLarge(
                f"the request has {len(texts):,} texts, and at most {self._limits.texts:,} are "
                "taken; send them in several requests"
            )
        for index, text in enumerate(texts, first):
            if not text:
                raise TextRefused(f"text {index} is empty; an empty text has no vector")
            size = len(text.encode(errors="replace"))
            if size > self._limits.text_bytes:
                raise RequestTooLarge(
                    f"text {index} has {size:,} bytes, and at most {self._limits.text_bytes:,} are "
                    "taken; split it"
                )

    async def _batches(self, wanted: Sequence[TextRequest]) -> list[_Batch]:
        """Return the texts by model and key, each text once, tokens counted."""
        if sum(len(one.text) for one in wanted) <= _AT_ONCE:
            return _batched(wanted)
        return await asyncio.to_thread(_batched, wanted)

    async def _encode(self, batch: _Batch) -> Vectors:
        return await self._workers[batch.model.name].encode(batch.work)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Texts of a request that one pass can hold.

    Args:
        model: Their model.
        work: The texts, each once.
        places: For each text request among these, its index in the request and that of its text.
    """

    model: ServedModel
    work: Work
    places: tuple[tuple[int, int], ...]


def _batched(wanted: Sequence[TextRequest]) -> list[_Batch]:
    outputs: dict[tuple[str, PassKey, str], set[Output]] = defaultdict(set)
    for one in wanted:
        asked = outputs[one.address.model.name, one.key, one.text]
        if (output := one.address.kind.output) is not None:
            asked.add(output)
    groups: dict[tuple[str, PassKey], list[int]] = defaultdict(list)
    for place, one in enumerate(wanted):
        name = one.address.model.name
        key = replace(one.key, outputs=frozenset(outputs[name, one.key, one.text]))
        groups[name, key].append(place)
    return [_batch(wanted, places, key) for (_, key), places in groups.items()]


def _batch(wanted: Sequence[TextRequest], places: Sequence[int], key: PassKey) -> _Batch:
    model = wanted[places[0]].address.model
    indices: dict[str, int] = {}
    numbers: list[int] = []
    for place in places:
        if wanted[place].text not in indices:
            indices[wanted[place].text] = len(indices)
            numbers.append(place)
    tokens = model.count_tokens([*indices], key, numbers=numbers)
    if whole := [place for place in places if not wanted[place].truncate]:
        model.check_lengths([wanted[place].text for place in whole], key, numbers=whole)
    return _Batch(
        model=model,
        work=Work(key=key, texts=tuple(indices), tokens=tokens),
        places=tuple((place, indices[wanted[place].text]) for place in places),
    )


def _tokens_by_model(batches: Sequence[_Batch]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for batch in batches:
        found[batch.model.name] += batch.work.total
    return dict(found)


async def _all(works: Sequence[Coroutine[None, None, Vectors]]) -> list[Vectors]:
    """Return all results; the first error cancels the other works, and is raised as it is."""
    if len(works) == 1:
        return [await works[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _row(vectors: Vectors, index: int, wanted: TextRequest) -> Embedding:
    match wanted.address.kind:
        case VectorKind.DENSE:
            return _dense(vectors.dense[index], wanted)
        case VectorKind.SPARSE:
            assert vectors.sparse is not None
            indices, values = vectors.sparse[index]
            return SparseEmbedding(indices=indices, values=values)
        case VectorKind.TOKENS:
            assert vectors.token_embeddings is not None
            return vectors.token_embeddings[index]
        case _:
            assert_never(wanted.address.kind)


def _dense(vector: NDArray[np.float32], wanted: TextRequest) -> NDArray[np.float32]:
    recipe = wanted.address.model.encoder.recipe
    dim = len(vector) if wanted.dim is None else wanted.dim
    normalize = recipe.normalize if wanted.normalize is None else wanted.normalize
    if dim == len(vector) and normalize == recipe.normalize:
        return vector
    row: NDArray[np.float32] = cut(vector[np.newaxis], dim=dim, normalize=normalize)[0]
    return row
