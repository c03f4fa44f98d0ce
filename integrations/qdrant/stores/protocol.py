"""What a store is: the few operations that a collection needs, the same on every engine.

:class:`EdgeStore` and :class:`RemoteStore` carry them out; one contract test holds for both.
A store knows points and payloads; documents, chunks and recipes are the collection's affair.
Every method raises ``StoreError`` when the engine refuses, is locked, or cannot be reached.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias, TypeVar, Union

from decant.embedders import StoreError

from .filters import And, Field, FieldIn, Where
from .input_errors import AbsentError, StoreInputError
from .sparse_vector import SparseVector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .collection_metadata import CollectionMetadata
    from .collection_settings import CollectionSettings, PayloadIndex
    from .filters import Where
    from .queries import Query

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]
Payload: TypeAlias = dict[str, Json]

DENSE = "dense"
"""The name of the dense vector, which every collection has."""

SPARSE = "sparse"
"""The name of the sparse vector, which collections have whose card says so."""

STATES = "states"
"""The name of the states of appended tokens, a multivector that is stored and not searched."""

KEYWORDS = ("source", "root", "kind", "text_sha256")
"""The payload fields that every collection indexes, before the first point comes."""


OptimizeProgress: TypeAlias = Callable[[int, int], object]
"""Told how many vectors are in the index, and how many points there are."""


class Engine(StrEnum):
    """Which engine holds the points."""

    EDGE = "edge"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """One point.

    Args:
        id: A UUID in canonical form.
        payload: The fields asked for, or to be stored.
        dense: float32, shape ``(D,)``; None for a point without vector, or where not asked for.
        sparse: None as for ``dense``, and for a text that weighs nothing.
        soft_tokens: float32, shape ``(n, d')``; None as for ``dense``.
    """

    id: str
    payload: Payload
    dense: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    soft_tokens: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredPoint:
    """A point that a query found."""

    point: Point
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """What to bring back of each point.

    Args:
        fields: Names of payload fields; None for all of them.
        dense: Whether the dense vector comes too.
        sparse: Whether the sparse vector comes too; only for collections that have them.
        soft_tokens: Whether the states of appended tokens come too; likewise.
    """

    fields: tuple[str, ...] | None = None
    dense: bool = False
    sparse: bool = False
    soft_tokens: bool = False

    @property
    def vectors(self) -> list[str]:
        """The names of the vectors that come."""
        wanted = {DENSE: self.dense, SPARSE: self.sparse, STATES: self.soft_tokens}
        return [name for name, is_wanted in wanted.items() if is_wanted]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScrollPage:
    """A stretch of points in the order of their ids, and where the next one starts."""

    points: list[Point]
    after: str | None


class Store(Protocol):
    """Holds collections by name. Safe to use from several threads."""

    @property
    def engine(self) -> Engine:
        """Which engine this is."""
        ...

    @property
    def place(self) -> str:
        """The folder or the address, for messages."""
        ...

    @property
    def identity(self) -> Hashable:
        """What is equal for two stores of this process that hold the same collections.

        It names no credentials.
        """
        ...

    def names(self) -> list[str]:
        """Return the names of the collections that decant made here, sorted.

        On a server, aliases of these are among them: a collection opens by either.
        """
        ...

    def create(self, name: str, card: CollectionMetadata, settings: CollectionSettings) -> None:
        """Make an empty collection, entirely or not at all; of two creators one fails."""
        ...

    def card(self, name: str) -> CollectionMetadata:
        """Open the collection and return what it says about itself; fails if it is not there."""
        ...

    def drop(self, name: str) -> None:
        """Delete the collection with all it holds; fails if it is not there.

        An alias is refused with the name of the collection behind it; both stay.
        """
        ...

    def add_index(self, name: str, entry: PayloadIndex) -> None:
        """Index a metadata entry, of points that are there and that come; again is harmless."""
        ...

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Store points, in order, replacing those of the same id."""
        ...

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:
        """Replace the payload fields given, of points that exist; other fields stay.

        Return the ids of those that do not exist; the others are set, whatever their order.
        """
        ...

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete points; ids that are not there are ignored."""
        ...

    def retrieve(self, name: str, ids: Sequence[str], fetch: Select) -> list[Point]:
        """Return the points of these ids that exist, in no particular order."""
        ...

    def scroll(
        self, name: str, where: Where, fetch: Select, *, limit: int, after: str | None = None
    ) -> ScrollPage:
        """Return up to ``limit`` points that match, from the one where the last page ended."""
        ...

    def query(
        self,
        name: str,
        query: Query,
        fetch: Select,
        *,
        limit: int,
        offset: int = 0,
        where: Where | None = None,
    ) -> list[ScoredPoint]:
        """Return the points that fit the query best, best first.

        The score for a dense query is the cosine, between -1 and 1. A point without the vector
        that is asked for is never found by it. ``where`` holds for each ranking that is fused.
        Points of equal score come in any order.
        """
        ...

    def count(self, name: str, where: Where) -> int:
        """Return exactly how many points match."""
        ...

    def list_limit(self, name: str) -> int:
        """Return how many values one condition of a filter may list, ``sys.maxsize`` for any.

        A longer list is cut into several conditions, of which a server may allow few, too.
        """
        ...

    def flush(self, name: str) -> None:
        """Return when everything written so far would survive what the engine can be asked for.

        On Edge that is a power failure. A server has everything that it acknowledged in its log,
        which survives the end of its process at any moment (``kill -9``), and writes that log out
        to the disk every ``flush_interval_sec``, 5 seconds by default: a power failure may take
        the last seconds. What survives then is a beginning of what was written, in its order.
        """
        ...

    def optimize(self, name: str, *, progress: OptimizeProgress | None = None) -> None:
        """Return when the vector index is built over what is stored.

        Edge builds it now. A server builds it by itself and is waited for, an hour at most; below
        its ``indexing_threshold`` it builds none.

        Args:
            name: The collection.
            progress: Told how many vectors are in the index and how many points there are, at
                every look at a server; Edge tells nothing.

        Raises:
            StoreError: The server cannot build it, or has not by then.
        """
        ...

    def close(self) -> None:
        """Release files and connections; a second call does nothing."""
        ...

    def __enter__(self) -> Self:
        """Return the store itself."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the store."""
        ...


def each(
    store: Store, name: str, where: Where, fetch: Select, *, page: int = 1_000
) -> Iterator[list[Point]]:
    """Yield all points that match, page by page. Those of a yielded page may be deleted."""
    after = None
    while True:
        found = store.scroll(name, where, fetch, limit=page, after=after)
        if found.points:
            yield found.points
        if found.after is None:
            return
        after = found.after


def each_with(
    store: Store,
    name: str,
    within: Where,
    fetch: Select,
    *,
    sources: Sequence[str],
    page: int = 1_000,
) -> Iterator[list[Point]]:
    """Yield all points that match and have one of these sources, in filters that the store takes.

    Args:
        store: What holds the collection.
        name: The collection.
        within: What else must hold.
        fetch: What to bring back of each point.
        sources: Each once, any number.
        page: How many points a page has at most.
    """
    for part in slices(sources, store.list_limit(name)):
        where = And([within, FieldIn(Field.SOURCE, part)])
        yield from each(store, name, where, fetch, page=page)


Item = TypeVar("Item")


def slices(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut a sequence into stretches of ``size``; the last may be shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def check_name(name: str) -> None:
    """Refuse a collection name that some engine or file system would not take.

    Raises:
        StoreInputError: The name is empty, too long, or holds other characters.
        TypeError: It is no string.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a collection is a string, got a {type(name).__name__}")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}", name):
        raise StoreInputError(
            f"{name!r} cannot name a collection; use 1 to 200 letters, digits, '_', '-' and '.', "
            "and do not start with '-' or '.'"
        )


def absent(name: str, place: str, names: Sequence[str]) -> AbsentError:
    """Return the error for a collection that is not there, naming those that are."""
    there = f"it holds {', '.join(map(repr, names))}" if names else "it holds no collection yet"
    return AbsentError(
        f"there is no collection {name!r} in {place}; {there}. Make it with Collection.create"
    )


def present(name: str, place: str) -> StoreError:
    """Return the error for a collection that is already there."""
    return StoreError(
        f"a collection {name!r} already exists in {place}; open it with Collection.open, or "
        "delete it with store.drop(name)"
    )
