"""A reranker of an encoder whose vectors are raw scores of width 1.

The encoder batches and runs pairs as it does texts; here the pairs are made and checked, and the
activation is applied. ``onnx_reranker.py`` and ``torch_reranker.py`` bring the encoders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Generic, Self, TypeVar, assert_never, cast

import numpy as np
from numpy.typing import NDArray

from ..encoding.batch_encoder import BatchEncoder
from ..encoding.protocol import Progress
from ..errors import TextError
from ..recipe.rerank_recipe import RerankRecipe, ScoreActivation
from ..tokens.batching import shared
from ..tokens.pair_tokenizer import Pair, PairTokenizer
from ..tokens.rows import Tokens
from ..tokens.texts import checked
from .protocol import checked_query

E = TypeVar("E", bound=BatchEncoder)

_TWO = 2
_UNCUT = 10**9  # tokens, more than any pair has


class EncoderReranker(Generic[E]):
    """Scores pairs with the encoder of a reranker.

    A call of several queries puts pairs of similar length together, whatever their query.

    Args:
        encoder: Its tokenizer is a :class:`PairTokenizer`, its vectors have one value.
        recipe: The recipe of the scores.
    """

    def __init__(self, encoder: E, recipe: RerankRecipe) -> None:
        tokenizer = encoder.text_tokenizer
        assert isinstance(tokenizer, PairTokenizer)
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._recipe = recipe

    def __enter__(self) -> Self:
        """Return the reranker itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def recipe(self) -> RerankRecipe:
        """What decides the scores."""
        return self._recipe

    @property
    def encoder(self) -> E:
        """What runs the model: an encoder of pairs, whose vectors are raw scores of width 1."""
        return self._encoder

    def score(
        self,
        query: str,
        texts: Iterable[str],
        *,
        instruction: str | None = None,
        raw: bool = False,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return the score of each passage; see :meth:`decant.embedders.Reranker.score`."""
        known = checked_query(query)
        pairs = ((known, text) for text in checked(texts))
        return self._scores(pairs, instruction, raw=raw, progress=progress)

    def score_pairs(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | None = None,
        raw: bool = False,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return the score of each pair; see :meth:`decant.embedders.Reranker.score_pairs`."""
        return self._scores(checked_pairs(pairs), instruction, raw=raw, progress=progress)

    @property
    def reads_queries_once(self) -> bool:
        """Whether what stands before the passages of a query is computed once for all of them."""
        has_template = self._recipe.pair.template is not None
        return has_template and self._encoder.settings.batching.once

    def count_tokens(
        self, pairs: Sequence[Pair], *, instruction: str | None = None
    ) -> tuple[int, ...]:
        """Return how many tokens the model reads of each pair, template included.

        Where a query is computed once for consecutive pairs, it counts for the first of them.

        Raises:
            TextError: As :meth:`score`.
            RecipeError: As :meth:`score`.
        """
        rows = self._tokenizer.pairs(pairs, instruction=instruction)
        once, before, found = self.reads_queries_once, None, list[int]()
        for (query, _), row in zip(pairs, rows, strict=True):
            is_known = once and query == before
            found.append(row.width - (shared(row) if is_known else 0))
            before = query
        return tuple(found)

    def pair_lengths(
        self, pairs: Sequence[Pair], *, instruction: str | None = None
    ) -> tuple[int, ...]:
        """Return how many tokens each pair has if nothing is cut, template included.

        Raises:
            TextError: As :meth:`score`.
            RecipeError: As :meth:`score`.
        """
        rows = self._tokenizer.pairs(pairs, instruction=instruction, max_tokens=_UNCUT)
        return tuple(row.width for row in rows)

    def cut_texts(self, texts: Sequence[str], *, tokens: int) -> tuple[str, ...]:
        """Return the beginnings of texts that have so many tokens; shorter texts as they are."""
        encodings = self._tokenizer.bare.encode_batch([*texts], add_special_tokens=False)
        return tuple(
            text if len(one.ids) <= tokens else text[: max(1, one.offsets[tokens - 1][1])]
            for text, one in zip(texts, encodings, strict=True)
        )

    def close(self) -> None:
        """Free the model; scoring afterwards raises :class:`ProviderError`."""
        self._encoder.close()

    def _scores(
        self,
        pairs: Iterable[Pair],
        instruction: str | None,
        *,
        raw: bool,
        progress: Progress | None,
    ) -> NDArray[np.float32]:
        self._recipe.pair.check_instruction(instruction)
        rows_of = partial(_rows, self._tokenizer, instruction)
        found = self._encoder.encode_rows(pairs, rows_of, progress=progress)[:, 0]
        return found if raw else activated(found, self._recipe.activation)


def activated(raw: NDArray[np.float32], activation: ScoreActivation) -> NDArray[np.float32]:
    """Return the scores of raw scores.

    >>> activated(np.array([0.0], np.float32), ScoreActivation.SIGMOID).tolist()
    [0.5]
    """
    match activation:
        case ScoreActivation.IDENTITY:
            return raw
        case ScoreActivation.SIGMOID:
            # By tanh, which does not overflow: 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2.
            return ((1 + np.tanh(raw.astype(np.float64) / 2)) / 2).astype(np.float32)
        case _:
            assert_never(activation)


def checked_pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[Pair]:
    """Yield pairs of texts as they are.

    Raises:
        TextError: One is no pair, or one of its texts is empty or no text; the message holds its
            index.
    """
    for index, pair in enumerate(cast("Iterable[object]", pairs)):
        if isinstance(pair, str) or not isinstance(pair, tuple | list) or len(pair) != _TWO:
            raise TextError(f"pair {index} is no pair of a query and a passage: {pair!r:.80}")
        query, text = cast("Pair", tuple(pair))
        try:
            checked_query(query)
        except TextError as error:
            raise TextError(f"pair {index}, {error}") from error
        try:
            list(checked([text]))
        except TextError as error:
            reason = str(error).removeprefix("text 0 ")
            raise TextError(f"text {index} {reason}") from error
        yield query, text


def _rows(
    tokenizer: PairTokenizer, instruction: str | None, pairs: list[Pair], first: int
) -> list[Tokens]:
    return tokenizer.pairs(pairs, instruction=instruction, first=first)
