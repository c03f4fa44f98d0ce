"""A reranker of an encoder whose vectors are raw scores of width 1.

The encoder batches and runs pairs as it does texts; here the pairs are made and checked, and the
activation is applied. ``onnx_reranker.py`` and ``torch_reranker.py`` bring the encoders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Generic, Self, TypeVar, assert_never, cast

import numpy as np
from numpy.typing import NDArray

from ..encoding.batch_encoder import BatchEncoder
from ..encoding.protocol import Progress
from ..errors import TextError
from ..recipe.rerank_recipe import RerankRecipe, ScoreActivation
from ..tokens.pair_tokenizer import Pair, PairTokenizer
from ..tokens.rows import Tokens
from ..tokens.texts import checked
from .protocol import checked_query

E = TypeVar("E", bound=BatchEncoder)

_TWO = 2


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
