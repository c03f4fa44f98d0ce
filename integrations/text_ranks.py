"""Rank what a framework has retrieved by a reranker's scores: one file, as all frameworks need it.

Texts come from anywhere here, perhaps without any; hits of a collection are reranked by its own
search (``qdrant/searching/rerank.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

from decant.embedders import Reranker, TextError, best_first


def rank_texts(
    reranker: Reranker,
    query: str,
    texts: Sequence[str],
    *,
    names: Sequence[str],
    instruction: str | None = None,
    top_n: int | None = None,
) -> list[tuple[int, float]]:
    """Return the places of the best texts with their scores, best first; equal ones in order.

    Args:
        reranker: Scores them.
        query: The query.
        texts: What it scores.
        names: What messages call each of them.
        instruction: The task, in place of the recipe's own.
        top_n: How many, at most; None: all.

    Raises:
        TextError: A text is empty; the message holds its name. Or as :meth:`Reranker.score`.
        RecipeError: As :meth:`Reranker.score`.

    >>> from decant.embedders import HashReranker
    >>> rank_texts(HashReranker(), "a cat", ["rain", "a cat"], names=["1", "2"], top_n=1)
    [(1, 1.0)]
    """
    for text, name in zip(texts, names, strict=True):
        if text == "":
            raise TextError(f"{name} has no text for the reranker to read; leave it out")
    scores = reranker.score(query, texts, instruction=instruction)
    return [(place, float(scores[place])) for place in best_first(scores)[:top_n]]
