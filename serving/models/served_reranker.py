"""One reranker of a server: its name, and how many tokens it reads of a query and a passage.

Pairs are tokenised here before they are accepted, as texts are: what cannot be scored is refused
for the client that sent it. Messages name the index of a passage and hold nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from decant.embedders import RecipeError, Reranker, TextError, Vectors

from ..batches import PASS_TOKENS, Pair, PairKey
from ..errors import InstructionRefused, RequestError, TextRefused
from .served_model import check_name

if TYPE_CHECKING:
    from decant.embedders.onnx import Settled

_BATCHES_A_WORKER = 2  # as of encoders


@runtime_checkable
class _ShowsTokens(Protocol):
    """A reranker that shows what its model reads of pairs."""

    def count_tokens(
        self, pairs: Sequence[Pair], *, instruction: str | None = None
    ) -> tuple[int, ...]: ...

    def pair_lengths(
        self, pairs: Sequence[Pair], *, instruction: str | None = None
    ) -> tuple[int, ...]: ...

    def cut_texts(self, texts: Sequence[str], *, tokens: int) -> tuple[str, ...]: ...


@runtime_checkable
class _ReadsQueriesOnce(Protocol):
    """A reranker that says whether it computes a query once for all of its passages."""

    @property
    def reads_queries_once(self) -> bool: ...


@runtime_checkable
class _Batches(Protocol):
    """A reranker that shows how it cuts pairs into batches."""

    @property
    def runtime(self) -> Settled: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedReranker:
    """A reranker under the name by which clients ask for it.

    Args:
        name: Letters, digits, and ``._/-`` after the first of them.
        reranker: What computes the scores; it stays the caller's to close.

    Raises:
        SettingsError: The name has other characters, or is longer than 128.
    """

    name: str
    reranker: Reranker

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def digest(self) -> str:
        """The digest of the recipe, by which ``name@digest`` pins the model."""
        return self.reranker.recipe.digest()

    @property
    def pass_tokens(self) -> int:
        """How many tokens keep the reranker busy: two batches for each of its workers."""
        if not isinstance(self.reranker, _Batches):
            return PASS_TOKENS
        runtime = self.reranker.runtime
        return _BATCHES_A_WORKER * runtime.workers * runtime.token_budget

    @property
    def takes_instruction(self) -> bool:
        """Whether a request may name a task."""
        return self.reranker.recipe.pair.instruction is not None

    def key(self, query: str, instruction: str | None) -> PairKey:
        """Return what the pairs of a query have in common with those that may share their pass."""
        reranker = self.reranker
        once = isinstance(reranker, _ReadsQueriesOnce) and reranker.reads_queries_once
        return PairKey(query=query if once else None, instruction=instruction)

    def score(self, pairs: Sequence[Pair], key: PairKey) -> Vectors:
        """Return the raw scores of the pairs of one pass, as vectors of width 1."""
        reranker, instruction = self.reranker, key.instruction
        if key.query is None:
            scores = reranker.score_pairs(pairs, instruction=instruction, raw=True)
        else:
            texts = [text for _, text in pairs]
            scores = reranker.score(key.query, texts, instruction=instruction, raw=True)
        return Vectors(dense=np.asarray(scores, np.float32)[:, np.newaxis])

    def check_instruction(self, instruction: str | None) -> None:
        """Refuse an instruction that the model cannot take.

        Raises:
            InstructionRefused: The model takes none, or it is blank.
        """
        if instruction is None:
            return
        if not self.takes_instruction:
            raise InstructionRefused(f"{self.name} takes no instruction; leave it out")
        if not instruction.strip():
            raise InstructionRefused("the instruction is blank; leave it out, or say the task")

    def count_tokens(
        self, pairs: Sequence[Pair], *, instruction: str | None, first: int = 0
    ) -> tuple[int, ...]:
        """Return how many tokens the model reads of each pair, at least 1.

        Args:
            pairs: The pairs; those of one query stand together.
            instruction: The task, in place of the recipe's.
            first: The client's number of the first passage, for messages.

        Raises:
            TextRefused: A query or a passage cannot be scored; the message holds the passage's
                number.
            InstructionRefused: The instruction leaves no room for a pair.
        """
        try:
            return self._count(pairs, instruction)
        except RecipeError:
            raise InstructionRefused(
                f"{self.name} cannot take this instruction: it leaves no room for a pair, or holds "
                "a token that the model has no embedding for; shorten it"
            ) from None  # the cause quotes it
        except TextError:
            raise self._refusal(pairs, instruction, first) from None

    def check_lengths(
        self, pairs: Sequence[Pair], *, instruction: str | None, first: int = 0
    ) -> None:
        """Refuse pairs of which the model would not read the end of the passage.

        Args:
            pairs: Pairs whose tokens were counted.
            instruction: The task, in place of the recipe's.
            first: The client's number of the first passage, for messages.

        Raises:
            RequestError: A pair has too many tokens; the message holds its number.
        """
        reranker, room = self.reranker, self.reranker.recipe.max_tokens
        if not isinstance(reranker, _ShowsTokens):
            raise RequestError(
                f"{self.name} does not show how long a pair is; allow it to be truncated"
            )
        lengths = reranker.pair_lengths(pairs, instruction=instruction)
        for number, length in enumerate(lengths, first):
            if length > room:
                raise RequestError(
                    f"text {number} has {length:,} tokens with its query and what stands around "
                    f"them, and {self.name} reads {room:,}; shorten it, or allow it to be truncated"
                )

    def cut_texts(self, texts: Sequence[str], *, tokens: int) -> tuple[str, ...]:
        """Return the beginnings of passages, of at most so many tokens each.

        Raises:
            RequestError: The model does not show its tokens.
        """
        if not isinstance(self.reranker, _ShowsTokens):
            raise RequestError(f"{self.name} does not show its tokens; leave the limit of them out")
        return self.reranker.cut_texts(texts, tokens=tokens)

    def _count(self, pairs: Sequence[Pair], instruction: str | None) -> tuple[int, ...]:
        if isinstance(self.reranker, _ShowsTokens):
            return self.reranker.count_tokens(pairs, instruction=instruction)
        most = self.reranker.recipe.max_tokens  # words, for want of tokens
        counts = (len(query.split()) + len(text.split()) for query, text in pairs)
        return tuple(max(1, min(count, most)) for count in counts)

    def _refusal(self, pairs: Sequence[Pair], instruction: str | None, first: int) -> TextRefused:
        """Return the error for the first pair that is refused; the reranker's quotes texts."""
        for number, (query, text) in enumerate(pairs, first):
            try:
                self._count([(query, "a")], instruction)
            except TextError:
                return TextRefused(
                    f"the query of text {number} leaves no room for a passage in the "
                    f"{self.reranker.recipe.max_tokens:,} tokens that {self.name} reads (a query "
                    "is never cut), or it is no valid text, or holds a token that the model has no "
                    "embedding for; shorten it"
                )
            try:
                self._count([(query, text)], instruction)
            except TextError:
                return TextRefused(
                    f"text {number} cannot be scored by {self.name}: it is no valid text, or holds "
                    "a token that the model has no embedding for; leave it out"
                )
        return TextRefused(f"{self.name} cannot score these texts; send them one by one")
