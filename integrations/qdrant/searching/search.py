"""Search a collection: the rankings of a mode, one or several fused, and the hits of a page.

A single ranking is the engine's, page by page. Several are asked for in one request, without
payload; they are fused here, and only the points of the page are read then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from operator import index
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np

from decant.embedders import Role, StoreError, Vectors
from decant.embedders.enum_fields import member
from decant.embedders.tokens import checked

from ..points.handle import Target
from ..points.passages import BranchScore, Hit, hit
from ..points.vectors import Row, given_rows, made_rows
from ..stores.filters import Where
from ..stores.protocol import Select
from ..stores.queries import Query, SearchMode, WordsQuery
from .fusion import FusedHit, Fusion, Ranking, fuse_in_depths

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OWNER = ("the query",)
_MOST = 2**53  # engines count in 64 bits, also four times this, and JSON's readers in floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which hits are wanted, and with what.

    Args:
        limit: How many, at most.
        offset: How many of the best to pass over.
        where: Only passages for which this holds.
        with_vectors: Whether the hits hold their dense vectors.

    Raises:
        StoreError: ``limit`` is below 1 or ``offset`` below 0, or they are no numbers that an
            engine can read.
    """

    limit: int
    offset: int
    where: Where | None
    with_vectors: bool

    def __post_init__(self) -> None:
        for name in ("limit", "offset"):
            object.__setattr__(self, name, _whole(getattr(self, name), name))
        if self.limit < 1 or self.offset < 0:
            raise StoreError(
                f"limit must be at least 1 and offset at least 0, got limit={self.limit}, "
                f"offset={self.offset}"
            )


def _whole(number: SupportsIndex, name: str) -> int:
    """Return a number of points.

    Raises:
        StoreError: It is no integer, or too large for the engines.
    """
    try:
        whole = index(number)
    except TypeError:
        raise StoreError(f"{name} is a whole number, got {number!r}") from None
    if whole > _MOST:
        raise StoreError(f"{name}={whole} is more than can be asked for, which is {_MOST}")
    return whole


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """What a search asks the store.

    Args:
        queries: Each with the mode in which it alone makes the ranking; none finds nothing.
        is_fused: Whether scores are those of a fusion, though there be one query alone.
    """

    queries: Mapping[SearchMode, Query]
    is_fused: bool


def plan_for_text(target: Target, query: str, mode: SearchMode | None) -> SearchPlan:
    """Embed a query, and return what to ask the store.

    Args:
        target: The collection.
        query: A text, embedded as a query where the mode compares vectors.
        mode: None is HYBRID where the collection has more than one ranking, else DENSE.

    Raises:
        TextError: ``query`` is empty.
        StoreError: The collection lacks what the mode compares, or a vector of the query cannot be
            searched with.
    """
    modes = _modes(target, mode)
    found: dict[SearchMode, Query] = {}
    if {SearchMode.DENSE, SearchMode.SPARSE} & {*modes}:
        compared = replace(target, sparse=SearchMode.SPARSE in modes, soft_tokens=None)
        vectors = target.encoder.encode([query], role=Role.QUERY, outputs=compared.searched)
        found |= _by_vectors(made_rows(compared, vectors, _OWNER)[0], modes)
    else:
        list(checked([query]))
    if SearchMode.WORDS in modes:
        found[SearchMode.WORDS] = WordsQuery(query)
    return SearchPlan(queries=found, is_fused=len(modes) > 1)


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
    rows = given_rows(target, Vectors(dense=vectors.dense, sparse=sparse), _OWNER)
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


def run_search(
    target: Target, plan: SearchPlan, window: Window, fusion: Fusion | None = None
) -> list[Hit]:
    """Return the hits of a page, best first.

    Args:
        target: The collection.
        plan: Of :func:`plan_for_text` or :func:`plan_for_vectors`.
        window: The page.
        fusion: How several rankings become one; None: the default.

    Raises:
        StoreError: The store failed, or ``fusion`` is given for a single ranking.
    """
    if fusion is not None and not plan.is_fused:
        raise StoreError("one ranking alone is not fused; leave fusion out, or search hybrid")
    if not plan.queries:
        return []
    if not plan.is_fused:
        ((mode, query),) = plan.queries.items()
        return _run_alone(target, mode, query, window)
    fusion = fusion or Fusion()
    names, asked = [mode.value for mode in plan.queries], list(plan.queries.values())

    def fetch(depth: int) -> dict[str, Ranking]:
        found = target.store.rank(target.name, asked, limit=depth, where=window.where)
        return {
            name: [(item.point.id, item.score) for item in ranking]
            for name, ranking in zip(names, found, strict=True)
        }

    start = window.offset
    page = list(islice(fuse_in_depths(fetch, fusion), start, start + window.limit))
    return _read(target, page, window)


def _run_alone(target: Target, mode: SearchMode, query: Query, window: Window) -> list[Hit]:
    scored = target.store.query(
        target.name,
        query,
        Select(dense=window.with_vectors),
        limit=window.limit,
        offset=window.offset,
        where=window.where,
    )
    hits = []
    for rank, item in enumerate(scored, window.offset + 1):
        branch = BranchScore(name=mode.value, rank=rank, score=item.score)
        hits.append(hit(item.point, score=item.score, branches=(branch,)))
    return hits


def _read(target: Target, page: list[FusedHit], window: Window) -> list[Hit]:
    """Read the points of a page; those that were deleted meanwhile are left out."""
    ids = [item.id for item in page]
    points = target.store.retrieve(target.name, ids, Select(dense=window.with_vectors))
    held = {point.id: point for point in points}
    return [
        hit(held[item.id], score=item.score, branches=item.branches)
        for item in page
        if item.id in held
    ]


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
