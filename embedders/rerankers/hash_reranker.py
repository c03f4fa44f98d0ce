"""A reranker without a model: shared words, deterministic, instant. For tests and dry runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers.pre_tokenizers import BertPreTokenizer

from ..encoding.protocol import Progress
from ..errors import RecipeError
from ..recipe.enums import Attention, Pooling
from ..recipe.recipe import Recipe
from ..recipe.rerank_recipe import ClassifierLabel, RerankRecipe, ScoreActivation
from ..tokens.texts import checked
from .protocol import checked_query


class HashReranker:
    """Scores from shared words.

    The raw score is the share of the query's different words, in lower case, that the passage
    holds, less a hundredth of the share of the passage's words that the query lacks: so of two
    passages with the same words of the query, the one with less beside them comes first.

    Args:
        max_tokens: Words of query and passage together that count; the end of the passage is cut.

    >>> [round(one, 3) for one in HashReranker().score("a b", ["a", "b a", "c"]).tolist()]
    [0.5, 1.0, -0.01]
    """

    def __init__(self, *, max_tokens: int = 512) -> None:
        self._splitter = BertPreTokenizer()
        self._recipe = RerankRecipe(
            model=Recipe(
                base="hash",
                revision="1",
                attention=Attention.BIDIRECTIONAL,
                pooling=Pooling.MEAN,
                max_tokens=max_tokens,
                normalize=False,
            ),
            label=ClassifierLabel(),
            activation=ScoreActivation.IDENTITY,
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Return a constructor of an equal reranker, for pickling and copying."""
        return _made, (self._recipe.max_tokens,)

    def __enter__(self) -> Self:
        """Return the reranker."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def recipe(self) -> RerankRecipe:
        """The recipe, which decides the scores."""
        return self._recipe

    def score(
        self,
        query: str,
        texts: Iterable[str],
        *,
        instruction: str | None = None,
        raw: bool = False,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return the score of each passage, in the order given; see :class:`Reranker`."""
        del raw  # its recipe has no activation
        _refuse(instruction)
        wanted = set(self._words(checked_query(query)))
        room = self._recipe.max_tokens - len(wanted)
        scores = []
        for text in checked(texts):
            held = self._words(text)[: max(1, room)]
            found = set(held)
            shared = len(wanted & found) / max(1, len(wanted))
            strange = sum(word not in wanted for word in held) / max(1, len(held))
            scores.append(shared - strange / 100)
            if progress is not None:
                progress(1)
        return np.array(scores, np.float32)

    def score_pairs(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | None = None,
        raw: bool = False,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return the score of each pair, in the order given; see :class:`Reranker`."""
        _refuse(instruction)
        parts = [
            self.score(query, [text for _, text in group], raw=raw, progress=progress)
            for query, group in groupby(pairs, key=itemgetter(0))
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def count_tokens(
        self, pairs: Sequence[tuple[str, str]], *, instruction: str | None = None
    ) -> tuple[int, ...]:
        """Return how many words of each pair count, at least 1."""
        most = self._recipe.max_tokens
        lengths = self.pair_lengths(pairs, instruction=instruction)
        return tuple(max(1, min(length, most)) for length in lengths)

    def pair_lengths(
        self, pairs: Sequence[tuple[str, str]], *, instruction: str | None = None
    ) -> tuple[int, ...]:
        """Return how many words each pair has."""
        _refuse(instruction)
        words: dict[str, int] = {}
        for query, _ in pairs:
            if query not in words:
                words[query] = len(self._words(query))
        return tuple(words[query] + len(self._words(text)) for query, text in pairs)

    def cut_texts(self, texts: Sequence[str], *, tokens: int) -> tuple[str, ...]:
        """Return the beginnings of texts that have so many words; shorter texts as they are."""
        found = []
        for text in texts:
            words = self._splitter.pre_tokenize_str(text)
            found.append(text if len(words) <= tokens else text[: words[tokens - 1][1][1]])
        return tuple(found)

    def close(self) -> None:
        """Do nothing: there is no model."""

    def _words(self, text: str) -> list[str]:
        return [word for word, _ in self._splitter.pre_tokenize_str(text.lower())]


def _made(max_tokens: int) -> HashReranker:
    return HashReranker(max_tokens=max_tokens)


def _refuse(instruction: str | None) -> None:
    if instruction is not None:
        raise RecipeError("the hash reranker takes no instruction; score without")
