"""The protocol of rerankers, which the whole project uses.

One contract test class holds for all implementations. Nothing here imports more than numpy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..errors import TextError
from ..tokens.texts import checked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..encoding.protocol import Progress
    from ..recipe.rerank_recipe import RerankRecipe


class Reranker(Protocol):
    """Scores how well passages answer a query, as one recipe specifies."""

    @property
    def recipe(self) -> RerankRecipe:
        """What decides the scores."""
        ...

    def score(
        self,
        query: str,
        texts: Iterable[str],
        *,
        instruction: str | None = None,
        raw: bool = False,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return the score of each passage under one query, float32 (N,), in the order given.

        A higher score is a better passage. Safe to call from several threads. A passage's score
        does not depend on its neighbours.

        Args:
            query: The query, which is never cut.
            texts: The passages, non-empty strings; zero texts give zero scores. A pair that is
                longer than the recipe's ``max_tokens`` loses the end of its passage.
            instruction: The task, for models that take one, in place of the recipe's own.
            raw: Whether to leave out the recipe's activation.
            progress: Called with the number of newly scored texts, from the calling thread.

        Raises:
            TextError: The query or a text is empty or not a string, or the query leaves no room
                for a passage; the message holds the text's index.
            RecipeError: The model takes no instruction.
            ParityError: A score is NaN or infinite; the message holds its text's index.
        """
        ...

    def score_pairs(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        instruction: str | None = None,
        raw: bool = False,
        progress: Progress | None = None,
    ) -> NDArray[np.float32]:
        """Return the score of each pair of query and passage, float32 (N,), in the order given.

        Args:
            pairs: A query and a passage each.
            instruction: As in :meth:`score`.
            raw: As in :meth:`score`.
            progress: As in :meth:`score`.

        Raises:
            TextError: As in :meth:`score`.
            RecipeError: As in :meth:`score`.
            ParityError: As in :meth:`score`.
        """
        ...

    def close(self) -> None:
        """Free the model; scoring afterwards is an error."""
        ...


def best_first(scores: NDArray[np.float32]) -> list[int]:
    """Return the indices of scores, the best first; equal ones keep their order.

    >>> best_first(np.array([0.5, 0.9, 0.5], np.float32))
    [1, 0, 2]
    """
    return [int(index) for index in np.argsort(-scores, kind="stable")]


def checked_query(query: str) -> str:
    """Return the query as it is.

    Raises:
        TextError: It is empty, not a string, or no valid Unicode.
    """
    given: object = query
    if given == "":
        raise TextError("the query is empty; give one")
    try:
        (found,) = checked([query])
    except TextError as error:
        raise TextError(f"the query {str(error).removeprefix('text 0 ')}") from error
    return found
