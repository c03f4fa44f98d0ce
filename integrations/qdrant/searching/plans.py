"""What a search asks of the store: the queries of a mode, made from texts or given as vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from decant.embedders import Role, StoreError, Vectors
from decant.embedders.enum_fields import member
from decant.embedders.tokens import checked

from ..inference.rows import make_rows
from ..points.handle import Target
from ..points.vectors import Row, given_rows
from ..stores.queries import Query, SearchMode, WordsQuery
from ..stores.search_defaults import Fusion, SearchDefaults
from .late import query_tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OWNER = ("the query",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """What a search by one query asks the store.

    Args:
        modes: The modes of the rankings that the search compares.
        queries: One for each of these, as far as the query has what they compare; none finds
            nothing.
        is_fused: Whether scores are those of a fusion, though there be one query alone.
        fusion: How several rankings become one.
        tokens: The token vectors of the query, if hits are ordered by them.
        text: The query's text, which a reranker reads; None if vectors alone were given.
    """

    modes: tuple[SearchMode, ...]
    queries: Mapping[SearchMode, Query]
    is_fused: bool
    fusion: Fusion
    tokens: NDArray[np.float32] | None = None
    text: str | None = None


def plan_for_texts(
    target: Target,
    queries: Iterable[str],
    mode: SearchMode | None,
    fusion: Fusion | None = None,
    *,
    late: bool = False,
) -> list[SearchPlan]:
    """Embed queries, in one call of the encoder, and return what to ask the store for each.

    Args:
        target: The collection.
        queries: Texts, embedded as queries where the mode compares vectors.
        mode: None is that of the collection's search defaults if it has some and no ``fusion`` is
            given, else HYBRID where the collection has more than one ranking, else DENSE.
        fusion: How several rankings become one; None: that of the collection's search defaults
            where the mode is theirs, else the default.
        late: Whether hits are ordered by token vectors, whatever the mode compares.

    Raises:
        TypeError: ``queries`` is one string.
        TextError: A query is empty.
        StoreError: The collection lacks what the mode compares, a vector of a query cannot be
            searched with, or ``fusion`` is given for a single ranking.
    """
    if isinstance(queries, str):
        raise TypeError("queries is a list of texts, got one string; write [query]")
    if target.search is not None:
        mode, fusion = target.search.complete(mode, fusion)
    modes = _modes(target, mode)
    is_fused, texts = len(modes) > 1, [*queries]
    _check_fusion(fusion, is_fused=is_fused)
    return [
        SearchPlan(
            modes=modes,
            queries=asked,
            is_fused=is_fused,
            fusion=fusion or Fusion(),
            tokens=tokens,
            text=text,
        )
        for text, (asked, tokens) in zip(
            texts, _queries_and_tokens(target, texts, modes, late=late), strict=True
        )
    ]


def queries_for_texts(
    target: Target, texts: Sequence[str], modes: Sequence[SearchMode]
) -> list[dict[SearchMode, Query]]:
    """Embed texts as queries, and return for each what to ask the store in each single mode.

    A text without any weight has no sparse query.

    Raises:
        TextError: A text is empty.
        StoreError: A vector cannot be searched with.
    """
    return [queries for queries, _ in _queries_and_tokens(target, texts, modes, late=False)]


def _queries_and_tokens(
    target: Target, texts: Sequence[str], modes: Sequence[SearchMode], *, late: bool
) -> list[tuple[dict[SearchMode, Query], NDArray[np.float32] | None]]:
    """Return the queries of each text, and its token vectors if they are asked for."""
    kept = query_tokens(target) if late else None
    found: list[dict[SearchMode, Query]] = [{} for _ in texts]
    tokens: list[NDArray[np.float32] | None] = [None] * len(texts)
    if texts and (late or {SearchMode.DENSE, SearchMode.SPARSE} & {*modes}):
        is_sparse = SearchMode.SPARSE in modes
        compared = replace(target, sparse=is_sparse, soft_tokens=None, token_vectors=kept)
        several = [f"query {number}" for number in range(len(texts))]
        owners = _OWNER if len(texts) == 1 else several
        rows = make_rows(compared, list(texts), role=Role.QUERY, owners=owners)
        found = [_by_vectors(row, modes) for row in rows]
        tokens = [row.token_vectors for row in rows]
    else:
        list(checked(texts))
    if SearchMode.WORDS in modes:
        for queries, text in zip(found, texts, strict=True):
            queries[SearchMode.WORDS] = WordsQuery(text)
    return list(zip(found, tokens, strict=True))


def plan_for_vectors(
    target: Target,
    vectors: Vectors | NDArray[np.float32],
    mode: SearchMode | None,
    fusion: Fusion | None = None,
    *,
    text: str | None = None,
    late: bool = False,
) -> SearchPlan:
    """Return what to ask the store for the vectors of one query.

    Args:
        target: The collection.
        vectors: Those of one text, or a dense vector alone, shape ``(D,)``.
        mode: None is that of the collection's search defaults if it has some, no ``fusion`` is
            given and the query has what that mode compares; else HYBRID where ``vectors`` has
            sparse ones, or there is a text whose words the collection indexes, else DENSE.
        fusion: As in :func:`plan_for_texts`.
        text: The query's text, whose words are compared, and which a reranker reads.
        late: Whether hits are ordered by the token vectors in ``vectors``.

    Raises:
        TextError: ``text`` is empty.
        StoreError: ``vectors`` or the collection lacks what the mode compares, a vector cannot be
            searched with, or ``fusion`` is given for a single ranking.
    """
    if not isinstance(vectors, Vectors):
        vectors = Vectors(dense=np.asarray(vectors)[None])
    has_words = text is not None and target.words is not None
    has_sparse = vectors.sparse is not None
    there = {
        SearchMode.DENSE: True,
        SearchMode.SPARSE: has_sparse,
        SearchMode.WORDS: has_words,
        SearchMode.HYBRID: has_sparse or has_words,
    }
    if target.search is not None and (mode is not None or there[target.search.mode]):
        mode, fusion = target.search.complete(mode, fusion)
    is_free = mode is None
    if mode is None:
        mode = SearchMode.HYBRID if there[SearchMode.HYBRID] else SearchMode.DENSE
    modes = compared = _modes(target, mode)
    _check_fusion(fusion, is_fused=mode == SearchMode.HYBRID)
    if is_free:
        modes = tuple(one for one in modes if there[one])
    if text is None and SearchMode.WORDS in modes:
        modes = tuple(one for one in modes if one is not SearchMode.WORDS)
        if SearchMode.SPARSE not in modes:
            raise StoreError(
                f"vectors hold no words, which the mode {str(mode)!r} compares; give the query's "
                "text, too, or search by text"
            )
    if SearchMode.SPARSE in modes and vectors.sparse is None:
        raise StoreError(
            f"a dense vector alone was given, and the mode {str(mode)!r} compares sparse ones, "
            "too; give what encode([query], role=Role.QUERY, outputs=[Output.SPARSE]) returns, or "
            "search by text"
        )
    sparse = vectors.sparse if SearchMode.SPARSE in modes else None
    kept = query_tokens(target, vectors) if late else None
    tokens = vectors.token_embeddings if late else None
    given = Vectors(dense=vectors.dense, sparse=sparse, token_embeddings=tokens)
    rows = given_rows(replace(target, token_vectors=kept), given, _OWNER)
    queries = _by_vectors(rows[0], modes)
    if SearchMode.WORDS in modes and text is not None:
        (words,) = checked([text])
        queries[SearchMode.WORDS] = WordsQuery(words)
    is_fused = mode == SearchMode.HYBRID
    return SearchPlan(
        modes=compared,
        queries=queries,
        is_fused=is_fused,
        fusion=fusion or Fusion(),
        tokens=rows[0].token_vectors,
        text=text,
    )


def _check_fusion(fusion: Fusion | None, *, is_fused: bool) -> None:
    if fusion is not None and not is_fused:
        raise StoreError("one ranking alone is not fused; leave fusion out, or search hybrid")


def _by_vectors(row: Row, modes: Sequence[SearchMode]) -> dict[SearchMode, Query]:
    found: dict[SearchMode, Query] = {}
    if SearchMode.DENSE in modes and row.dense is not None:
        found[SearchMode.DENSE] = row.dense
    if SearchMode.SPARSE in modes and row.sparse is not None:
        found[SearchMode.SPARSE] = row.sparse
    return found


def keep_defaults(target: Target, defaults: SearchDefaults | None) -> Target:
    """Keep a collection's search defaults in its metadata, and return the collection with them.

    Args:
        target: The collection.
        defaults: None removes them.

    Raises:
        StoreError: The collection lacks what their mode compares, a weight is that of no ranking
            here, or the store cannot write.
    """
    if defaults is not None:
        modes = _modes(target, defaults.mode)
        weights = {} if defaults.fusion is None else defaults.fusion.weights
        if strange := sorted({*weights} - {mode.value for mode in modes}):
            known = ", ".join(mode.value for mode in modes)
            raise StoreError(
                f"the collection {target.name!r} has no ranking {strange[0]!r} to weigh; it has "
                f"{known}"
            )
    target.store.set_search_defaults(target.name, defaults)
    return replace(target, search=defaults)


def single_modes(target: Target) -> tuple[SearchMode, ...]:
    """Return the modes in which one ranking alone is made, as far as the collection has them."""
    there = {
        SearchMode.DENSE: True,
        SearchMode.SPARSE: target.sparse,
        SearchMode.WORDS: target.words is not None,
    }
    return tuple(one for one, is_there in there.items() if is_there)


def _modes(target: Target, mode: SearchMode | None) -> tuple[SearchMode, ...]:
    """Return the rankings that a mode compares, if the collection has them."""
    modes = single_modes(target)
    if mode is None:
        return modes
    mode = member(SearchMode, mode, error=StoreError)
    if mode is SearchMode.HYBRID:
        if len(modes) > 1:
            return modes
        lacking = "neither sparse vectors nor an index of words"
    elif mode in modes:
        return (mode,)
    else:
        lacking = "no sparse vectors" if mode is SearchMode.SPARSE else "no index of words"
    raise StoreError(
        f"the collection {target.name!r} has {lacking}, so it cannot be searched in the mode "
        f"{mode.value!r}; search it in the mode 'dense', or make a collection with "
        "CollectionSettings(words=Words()) for words, with an encoder whose recipe has a sparse "
        "head (strategy 'splade' or 'promptreps') for sparse vectors"
    )
