"""Search a collection: turn a text into a query of the mode asked for, and read what is found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import index
from typing import TYPE_CHECKING, SupportsIndex, assert_never

import numpy as np

from decant.embedders import Role, StoreError, Vectors
from decant.embedders.enum_fields import member

from .points.handle import Target
from .points.passages import Hit, hit
from .points.vectors import Row, given_rows, made_rows
from .stores.filters import Where
from .stores.protocol import Select
from .stores.queries import HybridQuery, Query, SearchMode

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


def query_of_text(target: Target, query: str, mode: SearchMode | None) -> Query | None:
    """Embed a query and return what to ask the store; None if nothing can be found.

    Args:
        target: The collection.
        query: A text, embedded as a query.
        mode: None is HYBRID where the collection has sparse vectors, else DENSE.

    Raises:
        TextError: ``query`` is empty.
        StoreError: The collection has no sparse vectors, and the mode needs them; or a vector of
            the query cannot be searched with.
    """
    mode = _mode(target, mode)
    compared = replace(target, sparse=mode is not SearchMode.DENSE, soft_tokens=None)
    vectors = target.encoder.encode([query], role=Role.QUERY, outputs=compared.searched)
    return _query(made_rows(compared, vectors, _OWNER)[0], mode)


def query_of_vectors(
    target: Target, vectors: Vectors | NDArray[np.float32], mode: SearchMode | None
) -> Query | None:
    """Return what to ask the store for the vectors of one query; None if nothing can be found.

    Args:
        target: The collection.
        vectors: Those of one text, or a dense vector alone, shape ``(D,)``.
        mode: None is HYBRID where ``vectors`` has sparse ones, else DENSE.

    Raises:
        StoreError: ``vectors`` or the collection lacks the sparse vectors that the mode compares,
            or a vector cannot be searched with.
    """
    if not isinstance(vectors, Vectors):
        vectors = Vectors(dense=np.asarray(vectors)[None])
    if mode is None:
        mode = SearchMode.DENSE if vectors.sparse is None else SearchMode.HYBRID
    mode = _mode(target, mode)
    if mode is not SearchMode.DENSE and vectors.sparse is None:
        raise StoreError(
            f"a dense vector alone was given, and the mode {mode.value!r} compares sparse ones, "
            "too; give what encode([query], role=Role.QUERY, outputs=[Output.SPARSE]) returns, or "
            "search by text"
        )
    sparse = None if mode is SearchMode.DENSE else vectors.sparse
    rows = given_rows(target, Vectors(dense=vectors.dense, sparse=sparse), _OWNER)
    return _query(rows[0], mode)


def _query(row: Row, mode: SearchMode) -> Query | None:
    match mode:
        case SearchMode.DENSE:
            return row.dense
        case SearchMode.SPARSE:
            return row.sparse
        case SearchMode.HYBRID:
            return HybridQuery(dense=row.dense, sparse=row.sparse)
        case _:
            assert_never(mode)


def run_query(target: Target, query: Query | None, window: Window) -> list[Hit]:
    """Return the hits for a query, best first; none for None."""
    if query is None:
        return []
    scored = target.store.query(
        target.name,
        query,
        Select(dense=window.with_vectors),
        limit=window.limit,
        offset=window.offset,
        where=window.where,
    )
    return [hit(item) for item in scored]


def _mode(target: Target, mode: SearchMode | None) -> SearchMode:
    if mode is None:
        return SearchMode.HYBRID if target.sparse else SearchMode.DENSE
    mode = member(SearchMode, mode, error=StoreError)
    if mode is not SearchMode.DENSE and not target.sparse:
        raise StoreError(
            f"the collection {target.name!r} has no sparse vectors, so it cannot be searched in "
            f"the mode {mode.value!r}; search it in the mode 'dense', or make a collection with an "
            "encoder whose recipe has a sparse head (strategy 'splade' or 'promptreps')"
        )
    return mode
