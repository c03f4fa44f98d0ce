"""What a search asks of the store: the queries of a mode, made from texts or given as vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from decant.embedders import Role, StoreError, Vectors
from decant.embedders.enum_fields import member
from decant.embedders.tokens import checked

from ..points.handle import Target
from ..points.vectors import Row, given_rows, made_rows
from ..stores.queries import Query, SearchMode, WordsQuery

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """What a search by one query asks the store.

    Args:
        queries: Each with the mode in which it alone makes the ranking; none finds nothing.
        is_fused: Whether scores are those of a fusion, though there be one query alone.
    """

    queries: Mapping[SearchMode, Query]
    is_fused: bool


def plan_for_texts(
    target: Target, queries: Sequence[str], mode: SearchMode | None
) -> list[SearchPlan]:
    """Embed queries, in one call of the encoder, and return what to ask the store.

    Args:
        target: The collection.
        queries: Texts, embedded as queries where the mode compares vectors.
        mode: None is HYBRID where the collection has more than one ranking, else DENSE.

    Raises:
        TextError: A query is empty.
        TypeError: ``queries`` is one string.
        StoreError: The collection lacks what the mode compares, or a vector of a query cannot be
            searched with.
    """
    if isinstance(queries, str):
        raise TypeError(f"queries is a list of texts, got one string; write [{queries!r}]")
    modes = _modes(target, mode)
    found: list[dict[SearchMode, Query]] = [{} for _ in queries]
    if queries and {SearchMode.DENSE, SearchMode.SPARSE} & {*modes}:
        compared = replace(target, sparse=SearchMode.SPARSE in modes, soft_tokens=None)
        vectors = target.encoder.encode(list(queries), role=Role.QUERY, outputs=compared.searched)
        rows = made_rows(compared, vectors, _owners(queries))
        found = [_by_vectors(row, modes) for row in rows]
    else:
        list(checked(queries))
    if SearchMode.WORDS in modes:
        for asked, query in zip(found, queries, strict=True):
            asked[SearchMode.WORDS] = WordsQuery(query)
    return [SearchPlan(queries=asked, is_fused=len(modes) > 1) for asked in found]


def plan_for_vectors(
    target: Target,
    vectors: Vectors | NDArray[np.float32],
    mode: SearchMode | None,
    *,
    text: str | None = None,
) -> SearchPlan:
    """Return what to ask the store for the vectors of one query.

    Args:
        target: The collection.
        vectors: Those of one text, or a dense vector alone, shape ``(D,)``.
        mode: None is HYBRID where ``vectors`` has sparse ones, or there is a text whose words the
            collection indexes, else DENSE.
        text: The query's text, whose words are compared.

    Raises:
        TextError: ``text`` is empty.
        StoreError: ``vectors`` or the collection lacks what the mode compares, or a vector cannot
            be searched with.
    """
    if not isinstance(vectors, Vectors):
        vectors = Vectors(dense=np.asarray(vectors)[None])
    if mode is None:
        has_words = text is not None and target.words is not None
        is_hybrid = vectors.sparse is not None or has_words
        mode = SearchMode.HYBRID if is_hybrid else SearchMode.DENSE
    modes = _modes(target, mode)
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
    rows = given_rows(target, Vectors(dense=vectors.dense, sparse=sparse), _owners([""]))
    queries = _by_vectors(rows[0], modes)
    if SearchMode.WORDS in modes and text is not None:
        queries[SearchMode.WORDS] = WordsQuery(*checked([text]))
    return SearchPlan(queries=queries, is_fused=mode == SearchMode.HYBRID)


def _by_vectors(row: Row, modes: tuple[SearchMode, ...]) -> dict[SearchMode, Query]:
    found: dict[SearchMode, Query] = {}
    if SearchMode.DENSE in modes and row.dense is not None:
        found[SearchMode.DENSE] = row.dense
    if SearchMode.SPARSE in modes and row.sparse is not None:
        found[SearchMode.SPARSE] = row.sparse
    return found


def _owners(queries: Sequence[str]) -> list[str]:
    if len(queries) == 1:
        return ["the query"]
    return [f"query {number}" for number in range(len(queries))]


def _modes(target: Target, mode: SearchMode | None) -> tuple[SearchMode, ...]:
    """Return the rankings that a mode compares, if the collection has them."""
    there = {
        SearchMode.DENSE: True,
        SearchMode.SPARSE: target.sparse,
        SearchMode.WORDS: target.words is not None,
    }
    if mode is None:
        return tuple(one for one, is_there in there.items() if is_there)
    mode = member(SearchMode, mode, error=StoreError)
    modes = tuple(one for one, is_there in there.items() if is_there)
    if mode is SearchMode.HYBRID:
        if len(modes) > 1:
            return modes
        lacking = "neither sparse vectors nor an index of words"
    elif there[mode]:
        return (mode,)
    else:
        lacking = "no sparse vectors" if mode is SearchMode.SPARSE else "no index of words"
    raise StoreError(
        f"the collection {target.name!r} has {lacking}, so it cannot be searched in the mode "
        f"{mode.value!r}; search it in the mode 'dense', or make a collection with "
        "CollectionSettings(words=Words()) for words, with an encoder whose recipe has a sparse "
        "head (strategy 'splade' or 'promptreps') for sparse vectors"
    )
