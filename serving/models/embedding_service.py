"""From the texts of a request to their vectors: check, count, join, encode, and hand out.

Equal texts of a request that differ only in the vectors that are wanted are read once: dense,
sparse and token vectors of a text come from one pass, and its tokens are counted once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from decant.embedders import Output, Vectors
from decant.embedders.encoding import cut

from ..batches import PassKey, QueueSettings, Work
from ..errors import RequestTooLarge, SettingsError, TextRefused
from .model_address import ModelDirectory, VectorKind
from .model_workers import ModelWorkers, OnPass, PassRunner
from .served_model import ServedModel
from .text_request import TextRequest

# So few characters are tokenised, and their vectors handed out, in less time than a thread takes.
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

    def check(self, texts: Sequence[str], *, first: int = 0) -> None:
        """Refuse the texts of a request that are empty, too many or too large.

        Args:
            texts: The texts.
            first: The client's number of the first, for messages.

        Raises:
            TextRefused: One is empty.
            RequestTooLarge: There are too many, or one is too large.
        """
        if len(texts) > self.texts:
            raise RequestTooLarge(
                f"the request has {len(texts):,} texts, and at most {self.texts:,} are taken; "
                "send them in several requests"
            )
        for index, text in enumerate(texts, first):
            if not text:
                raise TextRefused(f"text {index} is empty; leave it out")
            self.check_size(text, f"text {index}")

    def check_size(self, text: str, name: str) -> None:
        """Refuse a text that is too large.

        Args:
            text: The text.
            name: What it is called in the message.

        Raises:
            RequestTooLarge: It has too many bytes.
        """
        size = len(text.encode(errors="replace"))
        if size > self.text_bytes:
            raise RequestTooLarge(
                f"{name} has {size:,} bytes, and at most {self.text_bytes:,} are taken; split it"
            )


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

    @property
    def numbers(self) -> int:
        """How many numbers the vectors have, indices included."""
        return sum(
            2 * len(row.indices) if isinstance(row, SparseEmbedding) else row.size
            for row in self.rows
        )


class EmbeddingService:
    """Embeds the texts of requests with the models of a server; an async context manager.

    Args:
        models: The models.
        queue: How much may wait for each model, and how it is cut into passes.
        limits: How much one request may ask for.
        on_pass: Called with a model's name after each of its passes.

    Attributes:
        workers: The worker of each encoder, by name; empty before the service begins.
    """

    def __init__(
        self,
        models: ModelDirectory,
        *,
        queue: QueueSettings,
        limits: TextLimits,
        on_pass: OnPass | None = None,
    ) -> None:
        self.models = models
        self._limits = limits
        runners = {
            one.name: PassRunner(run=one.encode, pass_tokens=one.pass_tokens)
            for one in models.encoders
        }
        self.workers = ModelWorkers[PassKey, str](runners, queue, on_pass)

    @property
    def limits(self) -> TextLimits:
        """How much one request may ask for."""
        return self._limits

    async def __aenter__(self) -> Self:
        """Start the workers."""
        await self.workers.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Answer everything that was accepted, and stop the workers."""
        await self.workers.__aexit__()

    async def embed(self, wanted: Sequence[TextRequest]) -> Embeddings:
        """Return the vectors of the texts of one request, in its order.

        Raises:
            RequestError: A text is empty, too long or cannot be embedded; the message holds its
                index and nothing of it.
            RequestTooLarge: There are too many texts or tokens.
            Overloaded: The queue of a model is full.
            ServerStopping: The server takes nothing new.
        """
        is_small = sum(len(one.text) for one in wanted) <= _AT_ONCE
        batches = (
            self._batches(wanted) if is_small else await asyncio.to_thread(self._batches, wanted)
        )
        for name, tokens in _tokens_by_model(batches).items():
            self.workers[name].check_size(tokens)
        found = await all_results([self._encode(batch) for batch in batches])
        if is_small:
            return _embeddings(wanted, batches, found)
        return await asyncio.to_thread(_embeddings, wanted, batches, found)

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
        self._check_running()
        self._limits.check(texts, first=first)
        model.check_outputs(key.outputs)
        model.check_instruction(key)
        numbers = range(first, first + len(texts))
        if sum(map(len, texts)) <= _AT_ONCE:
            tokens = model.count_tokens(texts, key, numbers=numbers)
        else:
            tokens = await asyncio.to_thread(model.count_tokens, texts, key, numbers=numbers)
        work = Work(key=key, texts=tuple(texts), tokens=tokens)
        return await self.workers[model.name].encode(work)

    def _check_running(self) -> None:
        if not self.workers:
            raise RuntimeError("enter the service before it embeds")

    def _batches(self, wanted: Sequence[TextRequest]) -> list[_Batch]:
        """Return the texts by model and key, each text once, tokens counted."""
        self._check_running()
        self._limits.check([one.text for one in wanted])
        return _batched(wanted)

    async def _encode(self, batch: _Batch) -> Vectors:
        return await self.workers[batch.model.name].encode(batch.work)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Texts of a request that one pass can hold.

    Args:
        model: Their model.
        work: The texts, each once.
        places: For each text request among these, its index in the request and that of its text.
    """

    model: ServedModel
    work: Work[PassKey, str]
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


def _embeddings(
    wanted: Sequence[TextRequest], batches: Sequence[_Batch], found: Sequence[Vectors]
) -> Embeddings:
    rows: list[Embedding | None] = [None] * len(wanted)
    for batch, vectors in zip(batches, found, strict=True):
        for place, index in batch.places:
            rows[place] = _row(vectors, index, wanted[place])
    complete = tuple(row for row in rows if row is not None)
    assert len(complete) == len(wanted)
    return Embeddings(rows=complete, tokens=_tokens_by_model(batches))


def _tokens_by_model(batches: Sequence[_Batch]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for batch in batches:
        found[batch.model.name] += batch.work.total
    return dict(found)


async def all_results(works: Sequence[Coroutine[None, None, Vectors]]) -> list[Vectors]:
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
    if wanted.dim is None and wanted.normalize is None:
        return vector
    recipe = wanted.address.model.encoder.recipe
    dim = len(vector) if wanted.dim is None else wanted.dim
    normalize = recipe.normalize if wanted.normalize is None else wanted.normalize
    if dim == len(vector) and normalize == recipe.normalize:
        return vector
    row: NDArray[np.float32] = cut(vector[np.newaxis], dim=dim, normalize=normalize)[0]
    return row
