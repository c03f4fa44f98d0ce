"""Queries of a store, each for one ranking: by dense vector, by sparse vector, or by words.

Rankings are fused by decant (``searching/fusion.py``), not by the engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias, Union

from .input_errors import StoreInputError
from .sparse_vector import SparseVector
from .text_to_embed import Embedding, TextToEmbed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .filters import Where


class SearchMode(StrEnum):
    """The rankings by which passages are found, which also decide a hit's score.

    DENSE: by the cosine of dense vectors, -1 to 1. SPARSE: by the inner product of sparse vectors,
    above 0; passages that share no weighted token with the query are not found, so a query without
    any weight finds nothing. WORDS: by BM25 over the words of the texts, above 0; passages that
    share no word with the query are not found (:class:`Words`). HYBRID: by all of these that the
    collection has, fused (:class:`Fusion`); its scores show the order within one search and nothing
    else. Passages in only one ranking are found, too.
    """

    DENSE = "dense"
    SPARSE = "sparse"
    WORDS = "words"
    HYBRID = "hybrid"


def check_rankings(names: Iterable[str], owner: str) -> None:
    """Refuse names that no ranking has.

    Raises:
        StoreInputError: The message holds the names that there are.
    """
    known = [mode.value for mode in SearchMode if mode is not SearchMode.HYBRID]
    if unknown := sorted({*names} - {*known}):
        raise StoreInputError(
            f"{owner} names the ranking {unknown[0]!r}; there are {', '.join(known)}"
        )


@dataclass(frozen=True, slots=True)
class WordsQuery:
    """A query by the words of a text; see :class:`Words`."""

    text: str
    corpus: Where | None = None
    """Which texts the statistics of the words are of; None: all texts of the collection."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DenseQuery:
    """A query by a dense vector with the engine's search parameters; see :class:`SearchOptions`.

    Args:
        vector: float32, shape ``(D,)``, or the text of which the server makes it.
        ef: How many candidates the index examines; None: the engine's own setting.
        exact: Whether all vectors are compared instead.
    """

    vector: Embedding
    ef: int | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokensQuery:
    """A query by token vectors, which scores some points by MaxSim.

    Args:
        vectors: float32, shape ``(Q, d)``, numbers that float16 holds.
        ids: Of the points; those without token vectors are not found.
    """

    vectors: NDArray[np.float32]
    ids: tuple[str, ...]


Query: TypeAlias = Union[
    "NDArray[np.float32]", DenseQuery, SparseVector, WordsQuery, TextToEmbed, TokensQuery
]


def is_dense(query: Query) -> bool:
    """Return whether a query is compared with dense vectors."""
    return mode_of(query) is SearchMode.DENSE


def mode_of(query: Query) -> SearchMode | None:
    """Return the mode in which a query alone makes the ranking; None for token vectors."""
    match query:
        case TokensQuery():
            return None
        case SparseVector():
            return SearchMode.SPARSE
        case WordsQuery():
            return SearchMode.WORDS
        case TextToEmbed(using=using):
            return SearchMode(using)
        case _:
            return SearchMode.DENSE


def text_of(query: Query) -> TextToEmbed | None:
    """Return the text of which the server makes the query's vector, if it is to make it."""
    value = query.vector if isinstance(query, DenseQuery) else query
    return value if isinstance(value, TextToEmbed) else None


def bounded(query: Query, scores: Iterable[float]) -> list[float]:
    """Return the scores of hits, clipped to [-1, 1] for a dense query.

    Engines round, and return a cosine of 1.0000001 for two equal vectors.

    >>> from numpy import ones
    >>> bounded(ones(2), [1.0000001, 0.5])
    [1.0, 0.5]
    """
    found = list(scores)
    if not is_dense(query) or not found:
        return found
    if max(found) <= 1.0 and min(found) >= -1.0:
        return found
    return [max(-1.0, min(1.0, score)) for score in found]
