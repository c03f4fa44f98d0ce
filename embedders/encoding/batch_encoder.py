"""From texts to vectors: tokenise, sort, batch, run, restore the order.

Tokenising the next block overlaps with running the present one. A subclass says how one batch is
run (ONNX Runtime, torch). Invariant: the result does not depend on blocks, batches or workers, and
holds finite numbers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..enum_fields import settle
from ..errors import ProviderError, RecipeError
from ..recipe.prompt import Role
from ..recipe.recipe import Recipe
from ..span_protocol import Span
from ..tokens.batching import Batching
from ..tokens.rows import TokenBatch, Tokens
from ..tokens.texts import blocks, checked
from ..tokens.tokenizer import TextTokenizer
from .encode_span import BATCHES, TEXTS, TOKENS, encode_span
from .finite import check_finite
from .outputs import batch_vectors, joined, output_names, restored
from .pooled_encoder import PooledEncoder
from .protocol import Output, Progress, Vectors, check_outputs

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKEN_FIELDS = frozenset(
    {"query_prompt", "passage_prompt", "eos", "open_end", "max_tokens", "max_text_tokens"}
)
"""The fields of a recipe that change the tokens of a text and nothing behind them."""

T = TypeVar("T")

_BLOCK = 1024
_FIRST_BLOCK = 128  # small, so that the first vectors come soon and storing can begin
_UNDERWAY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How the work of an encoder is cut into batches, and how wide its vectors are.

    Args:
        batching: How texts become batches.
        workers: Batches that run at the same time.
        dim: Width D of the vectors.
        read_shape: Number n and width d' of the hidden states of appended tokens, if there are any.
    """

    batching: Batching
    workers: int
    dim: int
    read_shape: tuple[int, int] | None = None


class BatchEncoder(PooledEncoder):
    """An encoder but for one method, :meth:`run_batch`, which runs the model.

    Args:
        tokenizer: Tokenises as its recipe says.
        settings: How the work is cut.
    """

    def __init__(self, tokenizer: TextTokenizer, settings: BatchSettings) -> None:
        self._tokenizer = tokenizer
        self._settings = settings
        super().__init__()

    @abstractmethod
    def run_batch(
        self, batch: TokenBatch, names: Sequence[str], *, alone: bool
    ) -> Sequence[NDArray[np.generic]]:
        """Run the model on one batch of B rows, and return the values of the named outputs.

        Args:
            batch: int64 arrays of shape (B, T).
            names: Names of the graph's outputs; the dense vectors come first.
            alone: Whether this is the only batch of a call, which may use every core. Others run
                in several threads at a time.
        """

    @property
    def recipe(self) -> Recipe:
        """The recipe, which decides the vectors."""
        return self._tokenizer.recipe

    @property
    def dim(self) -> int:
        """The width D of the vectors."""
        return self._settings.dim

    @property
    def tokenizer(self) -> Tokenizer:
        """The bare tokenizer; see :class:`decant.embedders.Encoder`."""
        return self._tokenizer.bare

    @property
    def settings(self) -> BatchSettings:
        """How the work is cut into batches."""
        return self._settings

    @property
    def variable_fields(self) -> frozenset[str]:
        """The fields of the recipe that :meth:`with_recipe` can change."""
        return TOKEN_FIELDS

    def with_recipe(self, recipe: Recipe) -> BatchEncoder:
        """Return an encoder of the same model by another recipe, which works while this one does.

        Args:
            recipe: This encoder's, with other values of :attr:`variable_fields`.

        Raises:
            RecipeError: Another field differs, which the model at hand cannot follow.
        """
        old = self._tokenizer.recipe
        changed = {one.name for one in fields(recipe)} - {
            one.name
            for one in fields(recipe)
            if getattr(recipe, one.name) == getattr(old, one.name)
        }
        if fixed := sorted(changed - self.variable_fields - {"dim"}):
            raise RecipeError(
                f"the graph of {old.base} was made for its {fixed[0]}, which cannot be changed "
                "afterwards; give the model's folder, which PyTorch runs by any recipe"
            )
        return _RetokenizedEncoder(self, TextTokenizer(self._tokenizer.bare, recipe))

    @property
    def text_tokenizer(self) -> TextTokenizer:
        """The tokenizer with the recipe's prompts and limits."""
        return self._tokenizer

    def max_text_tokens(self, role: Role) -> int:
        """Return how many tokens of text fit next to the prompt and the special tokens."""
        return self._tokenizer.max_text_tokens(role)

    def encode(
        self,
        texts: Iterable[str],
        *,
        role: Role,
        instruction: str | None = None,
        outputs: Collection[Output] = (),
        progress: Progress | None = None,
    ) -> Vectors:
        """Return one vector per text, in order; see :meth:`decant.embedders.Encoder.encode`."""
        request = _Request(role, instruction, outputs)
        rows_of = self._rows_of(request)
        with encode_span(self, self.recipe, role=request.role, outputs=outputs) as work:
            parts = list(
                self._blocks(checked(texts), rows_of, request, progress=progress, work=work)
            )
        return joined(parts, dim=self.dim, outputs=outputs, read_shape=self._settings.read_shape)

    def stream(
        self,
        texts: Iterable[str],
        *,
        role: Role,
        instruction: str | None = None,
        outputs: Collection[Output] = (),
        progress: Progress | None = None,
    ) -> Iterator[Vectors]:
        """Yield vectors in blocks, in order; see :meth:`decant.embedders.Encoder.stream`."""
        request = _Request(role, instruction, outputs)
        with encode_span(
            self, self.recipe, role=request.role, outputs=outputs, current=False
        ) as work:
            rows_of = self._rows_of(request)
            yield from self._blocks(checked(texts), rows_of, request, progress=progress, work=work)

    def encode_rows(
        self,
        items: Iterable[T],
        rows_of: Callable[[list[T], int], list[Tokens]],
        *,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return a dense vector for each item, float32 (N, D), in order.

        Args:
            items: What is not plain text, for example pairs of texts.
            rows_of: Tokenises some items; gets the number of the first.
            progress: As in :meth:`encode`.
        """
        request = _Request(Role.PASSAGE, None, ())
        with encode_span(self, self.recipe, role=request.role) as work:
            parts = list(self._blocks(items, rows_of, request, progress=progress, work=work))
        return joined(parts, dim=self.dim, outputs=(), read_shape=None).dense

    def _rows_of(self, request: _Request) -> Callable[[list[str], int], list[Tokens]]:
        return lambda block, first: self._tokenizer(
            block, role=request.role, instruction=request.instruction, first=first
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to be pickled; encoders of a bundle override this, because they can be reopened.

        Raises:
            TypeError: Says what to send instead.
        """
        raise TypeError(
            f"this {type(self).__name__} of {self.recipe.base} cannot be pickled, because its "
            "model is open in this process; load the model in the other process, or export it: an "
            "encoder that load() opened from a bundle can be pickled"
        )

    def _workers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._settings.workers, thread_name_prefix="decant")

    def _blocks(
        self,
        items: Iterable[T],
        rows_of: Callable[[list[T], int], list[Tokens]],
        request: _Request,
        *,
        progress: Progress | None,
        work: Span,
    ) -> Iterator[Vectors]:
        """Yield finished blocks in order, while the next one is tokenised and under way."""
        pool = self._pool
        self._check_open(pool)
        check_outputs(self.recipe, request.outputs)
        underway: deque[_Block] = deque()
        started, read = False, 0
        vectors_of = work.carry(self._vectors)
        try:
            # Vectors of tokens take so much memory that few texts are held at a time.
            whole = Output.TOKEN_EMBEDDINGS in request.outputs
            size = _FIRST_BLOCK if whole else _BLOCK
            for block in blocks(items, size, first=_FIRST_BLOCK):
                self._check_open(pool)
                rows = rows_of(block, read)
                first, read = read, read + len(block)
                batching = self._settings.batching
                groups = batching.batches(rows, whole=whole)
                if work.is_recording:
                    _count(work, rows, groups)
                if not started and len(groups) == 1 and len(block) < _FIRST_BLOCK:
                    batch = batching.stack([rows[index] for index in groups[0]])
                    alone = restored([vectors_of(batch, request, alone=True)], groups)
                    yield check_finite(alone, first=first, by=self.recipe.base)
                    if progress is not None:
                        progress(len(block))
                    return
                started = True
                batches = [
                    pool.submit(
                        vectors_of, batching.stack([rows[index] for index in group]), request
                    )
                    for group in groups
                ]
                underway.append(_Block(groups=groups, batches=batches, first=first))
                if len(underway) == _UNDERWAY:
                    yield self._finished(underway[0], progress)
                    underway.popleft()
                    self._check_open(pool)
            while underway:
                self._check_open(pool)  # close() cancelled the batches that had not begun
                yield self._finished(underway[0], progress)
                underway.popleft()
        finally:
            # In a forked child the batches are its parent's: no thread runs them, and they hold
            # locks.
            for block_underway in underway if pool is self._pool else ():
                for batch_underway in block_underway.batches:
                    batch_underway.cancel()

    def _vectors(self, batch: TokenBatch, request: _Request, *, alone: bool = False) -> Vectors:
        values = self.run_batch(batch, output_names(request.outputs), alone=alone)
        return batch_vectors(batch, values, request.outputs)

    def _finished(self, block: _Block, progress: Progress | None) -> Vectors:
        return check_finite(block.wait(progress), first=block.first, by=self.recipe.base)

    def _check_open(self, pool: ThreadPoolExecutor) -> None:
        if pool is not self._pool:
            raise ProviderError(
                "these vectors were begun before this process was forked, and what computes them "
                "is in its parent; encode the texts in the child from the start"
            )
        if self._closed:
            raise ProviderError(
                f"this encoder of {self.recipe.base} is closed and runs nothing any more; encode "
                "before close(), or inside its with block, or load it again"
            )


def _count(work: Span, rows: Sequence[Tokens], groups: Sequence[Sequence[int]]) -> None:
    """Note the texts of a block, the tokens that the model reads of them, and its batches."""
    work.count(TEXTS, len(rows))
    work.count(TOKENS, sum(len(row.ids) for text in rows for row in text.rows))
    work.count(BATCHES, len(groups))


class _RetokenizedEncoder(BatchEncoder):
    """Runs the model of another encoder on texts that are tokenised by another recipe."""

    def __init__(self, inner: BatchEncoder, tokenizer: TextTokenizer) -> None:
        self._inner = inner
        super().__init__(tokenizer, inner.settings)

    def run_batch(
        self, batch: TokenBatch, names: Sequence[str], *, alone: bool
    ) -> Sequence[NDArray[np.generic]]:
        """Run the other encoder's model on one batch."""
        return self._inner.run_batch(batch, names, alone=alone)


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments of a call of ``encode``."""

    role: Role
    instruction: str | None
    outputs: Collection[Output]

    def __post_init__(self) -> None:
        settle(self, {"role": Role}, (), error=RecipeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """One block's groups of text indices, the future vectors of each, and its first text."""

    groups: list[list[int]]
    batches: list[Future[Vectors]]
    first: int

    def wait(self, progress: Progress | None) -> Vectors:
        if progress is not None:
            sizes = {
                batch: len(group) for batch, group in zip(self.batches, self.groups, strict=True)
            }
            for done in as_completed(self.batches):
                done.result()
                progress(sizes[done])
        return restored([batch.result() for batch in self.batches], self.groups)
