"""Search a collection: the rankings of a mode, one or several fused, and the hits of a page.

A single ranking is the engine's, page by page. Several are asked for in one request, without
payload; they are fused here, and only the points of the page are read then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from ..stores.search_defaults import Fusion, SearchDefaults
from .fusion import FusedHit, Ranking, fuse_in_depths

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
        fusion: How several rankings become one.
    """

    queries: Mapping[SearchMode, Query]
    is_fused: bool
    fusion: Fusion


def plan_for_text(
    target: Target, query: str, mode: SearchMode | None, fusion: Fusion | None = None
) -> SearchPlan:
    """Embed a query, and return what to ask the store.

    Args:
        target: The collection.
        query: A text, embedded as a query where the mode compares vectors.
        mode: None is that of the collection's search defaults if it has some and no ``fusion`` is
            given, else HYBRID where the collection has more than one ranking, else DENSE.
        fusion: How several rankings become one; None: that of the collection's search defaults
            where the mode is theirs, else the default.

    Raises:
        TextError: ``query`` is empty.
        StoreError: The collection lacks what the mode compares, a vector of the query cannot be
            searched with, or ``fusion`` is given for a single ranking.
    """
    if target.search is not None:
        mode, fusion = target.search.complete(mode, fusion)
    modes = _modes(target, mode)
    _check_fusion(fusion, is_fused=len(modes) > 1)
    queries = queries_for_texts(target, [query], modes)[0]
    return SearchPlan(queries=queries, is_fused=len(modes) > 1, fusion=fusion or Fusion())


def queries_for_texts(
    target: Target, texts: Sequence[str], modes: Sequence[SearchMode]
) -> list[dict[SearchMode, Query]]:
    """Embed texts as queries, and return for each what to ask the store in each single mode.

    A text without any weight has no sparse query.

    Raises:
        TextError: A text is empty.
        StoreError: A vector cannot be searched with.
    """
    found: list[dict[SearchMode, Query]] = [{} for _ in texts]
    if {SearchMode.DENSE, SearchMode.SPARSE} & {*modes}:
        compared = replace(target, sparse=SearchMode.SPARSE in modes, soft_tokens=None)
        vectors = target.encoder.encode(texts, role=Role.QUERY, outputs=compared.searched)
        owners = _OWNER if len(texts) == 1 else [f"the query {text!r}" for text in texts]
        rows = made_rows(compared, vectors, owners)
        found = [_by_vectors(row, modes) for row in rows]
    else:
        list(checked(texts))
    if SearchMode.WORDS in modes:
        for queries, text in zip(found, texts, strict=True):
            queries[SearchMode.WORDS] = WordsQuery(text)
    return found


def plan_for_vectors(
    target: Target,
    vectors: Vectors | NDArray[np.float32],
    mode: SearchMode | None,
    fusion: Fusion | None = None,
    *,
    text: str | None = None,
) -> SearchPlan:
    """Return what to ask the store for the vectors of one query.

    Args:
        target: The collection.
        vectors: Those of one text, or a dense vector alone, shape ``(D,)``.
        mode: None is that of the collection's search defaults if it has some, no ``fusion`` is
            given and the query has what that mode compares; else HYBRID where ``vectors`` has
            sparse ones, or there is a text whose words the collection indexes, else DENSE.
        fusion: As in :func:`plan_for_text`.
        text: The query's text, whose words are compared.

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
    if mode is None:
        mode = SearchMode.HYBRID if there[SearchMode.HYBRID] else SearchMode.DENSE
    modes = _modes(target, mode)
    _check_fusion(fusion, is_fused=mode == SearchMode.HYBRID)
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
    is_fused = mode == SearchMode.HYBRID
    return SearchPlan(queries=queries, is_fused=is_fused, fusion=fusion or Fusion())


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


def run_search(target: Target, plan: SearchPlan, window: Window) -> list[Hit]:
    """Return the hits of a page, best first.

    Args:
        target: The collection.
        plan: Of :func:`plan_for_text` or :func:`plan_for_vectors`.
        window: The page.

    Raises:
        StoreError: The store failed.
    """
    if not plan.queries:
        return []
    if not plan.is_fused:
        ((mode, query),) = plan.queries.items()
        return _run_alone(target, mode, query, window)
    names, asked = [mode.value for mode in plan.queries], list(plan.queries.values())

    def fetch(depth: int) -> dict[str, Ranking]:
        found = target.store.rank(target.name, asked, limit=depth, where=window.where)
        return {
            name: [(item.point.id, item.score) for item in ranking]
            for name, ranking in zip(names, found, strict=True)
        }

    start = window.offset
    page = list(islice(fuse_in_depths(fetch, plan.fusion), start, start + window.limit))
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
