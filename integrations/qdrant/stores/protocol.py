"""The protocol of a store: the few operations that a collection needs, the same on every engine.

:class:`EdgeStore` and :class:`RemoteStore` implement it; one contract test holds for both. A store
knows points and payloads; only the collection knows documents, chunks and recipes.
Every method raises ``StoreError`` when the engine refuses, is locked, or cannot be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias, TypeVar, Union

from .filters import And, Field, FieldIn, Where
from .sparse_vector import SparseVector
from .text_to_embed import TextToEmbed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .aliases import Aliases, FoundCollection
    from .collection_metadata import CollectionMetadata
    from .collection_settings import CollectionSettings, Layout, PayloadIndex, StoredLayout
    from .queries import Query
    from .search_defaults import SearchDefaults

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]
Payload: TypeAlias = dict[str, Json]

DENSE = "dense"
"""The name of the dense vector, which every collection has."""

PREFIX = "dense_prefix"
"""The name of the first values of the dense vector, where these are searched first."""

SPARSE = "sparse"
"""The name of the sparse vector; the metadata state whether a collection has it."""

STATES = "states"
"""The name of the soft tokens, a multivector that is stored and not searched."""

TOKENS = "tokens"
"""The name of the token vectors, a multivector by which candidates are scored anew."""

TEXT = "text"
"""The payload field that holds a passage's text, whose words are indexed if at all."""

KEYWORDS = ("source", "root", "kind", "text_sha256")
"""The payload fields that every collection indexes, before the first point is stored."""

TENANT = Field.TENANT.value
"""The payload field that holds the tenant of every point, in a collection with tenants."""

OptimizeProgress: TypeAlias = Callable[[int, int], object]
"""Called with the number of vectors in the index, and the number of points."""


class Engine(StrEnum):
    """The engine that holds the points."""

    EDGE = "edge"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """One point.

    Args:
        id: A UUID in canonical form.
        payload: The requested fields, or those to store.
        dense: float32, shape ``(D,)``; None for a point without a vector, or if not requested.
        sparse: None as for ``dense``, and for a text that weighs nothing.
        soft_tokens: float32, shape ``(n, d')``; None as for ``dense``, likewise:
        token_vectors: float32, shape ``(P, d)``.
        words: The BM25 weights of its text, which a store adds itself if it needs them, as it
            does ``prefix``, the first values of ``dense``, normalised again.
        to_embed: Texts to store the vectors of, at most one for each vector that is None here; the
            server has the vectors made. A point that was read has none.
    """

    id: str
    payload: Payload
    dense: NDArray[np.float32] | None = None
    sparse: SparseVector | None = None
    soft_tokens: NDArray[np.float32] | None = None
    token_vectors: NDArray[np.float32] | None = None
    words: SparseVector | None = None
    prefix: NDArray[np.float32] | None = None
    to_embed: tuple[TextToEmbed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredPoint:
    """A point that a query found."""

    point: Point
    score: float


Ranking: TypeAlias = list[tuple[str, float]]
"""The ids and scores of the points that a query found, best first, each id once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """The parts of a point to return.

    Args:
        fields: Names of payload fields; None for all of them.
        dense: Whether to return the dense vector, as the others below of collections with these.
        sparse: Whether to return the sparse vector.
        soft_tokens: Whether to return the soft tokens.
        token_vectors: Whether to return the token vectors.
        prefix: Whether to return the first values of the dense vector.
    """

    fields: tuple[str, ...] | None = None
    dense: bool = False
    sparse: bool = False
    soft_tokens: bool = False
    token_vectors: bool = False
    prefix: bool = False

    @property
    def vectors(self) -> list[str]:
        """The names of the vectors to return."""
        wanted = {
            DENSE: self.dense,
            PREFIX: self.prefix,
            SPARSE: self.sparse,
            STATES: self.soft_tokens,
            TOKENS: self.token_vectors,
        }
        return [name for name, is_wanted in wanted.items() if is_wanted]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScrollPage:
    """A page of points in the order of their stored ids, and the id at which the next page starts.

    The stored ids of a tenant's points are others than their ids, see :class:`TenantStore`.
    """

    points: list[Point]
    after: str | None


class Store(Protocol):
    """Holds collections by name, not by alias but in :meth:`find`. Usable from several threads."""

    @property
    def engine(self) -> Engine:
        """The engine of this store."""
        ...

    @property
    def place(self) -> str:
        """The folder or the address, for messages."""
        ...

    @property
    def identity(self) -> Hashable:
        """A value that two stores of this process share if they hold the same collections.

        It contains no credentials.
        """
        ...

    def names(self) -> list[str]:
        """Return the names of the collections that decant made here, sorted.

        Their aliases are included: a collection opens by either.
        """
        ...

    def create(self, name: str, card: CollectionMetadata, settings: CollectionSettings) -> None:
        """Make an empty collection, entirely or not at all; of two creators one fails."""
        ...

    def card(self, name: str) -> CollectionMetadata:
        """Open the collection and return its metadata; fails if it does not exist."""
        ...

    def find(self, name: str) -> FoundCollection:
        """Open the collection that a name means, its own or an alias; fails if there is none."""
        ...

    @property
    def aliases(self) -> Aliases:
        """The aliases of collections, and the notes of migrations."""
        ...

    def drop(self, name: str) -> None:
        """Delete the collection with all its points; fails if it does not exist.

        An alias is refused with the name of its collection; both stay.
        """
        ...

    def set_search_defaults(self, name: str, defaults: SearchDefaults | None) -> None:
        """Replace the search defaults in the collection's metadata; None removes them."""
        ...

    def add_index(self, name: str, entry: PayloadIndex) -> None:
        """Index a metadata entry of present and future points; idempotent."""
        ...

    def layout(self, name: str) -> StoredLayout:
        """Return how the engine stores the collection, as it reports it now."""
        ...

    def relayout(self, name: str, layout: Layout) -> None:
        """Change how the engine stores the collection, and wait; a second call completes it."""
        ...

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Store points, in order, replacing those of the same id.

        Texts in place of vectors are refused by a store that asks no inference service.
        """
        ...

    def set_fields(self, name: str, points: Sequence[Point]) -> list[str]:
        """Replace the given payload fields of points; other fields stay.

        Return the ids that do not exist; all other points are changed, in any order of ids.
        """
        ...

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Delete points; unknown ids are ignored."""
        ...

    def retrieve(self, name: str, ids: Sequence[str], fetch: Select) -> list[Point]:
        """Return the points of these ids that exist, in no particular order."""
        ...

    def scroll(
        self, name: str, where: Where, fetch: Select, *, limit: int, after: str | None = None
    ) -> ScrollPage:
        """Return up to ``limit`` points that match, from where the last page ended."""
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

        The score for a dense query is the cosine, between -1 and 1. A point without the query's
        kind of vector is never found. ``where`` applies to each ranking that is fused. Points of
        equal score come in any order.
        """
        ...

    def rank(
        self, name: str, queries: Sequence[Query], *, limit: int, where: Where | None = None
    ) -> list[Ranking]:
        """Return the ids and scores of one ranking per query, best first, in one request.

        Args:
            name: The collection.
            queries: As for :meth:`query`.
            limit: How long each ranking may be.
            where: What must hold for every point.
        """
        ...

    def count(self, name: str, where: Where) -> int:
        """Return exactly how many points match."""
        ...

    def missing_indexes(self, name: str) -> list[str]:
        """Return the paths of the payload indexes that the collection should have and lacks.

        Opening a collection makes them, unless the key or a limit of the server forbids it.
        """
        ...

    def list_limit(self, name: str) -> int:
        """Return how many values one condition of a filter may list, ``sys.maxsize`` for any.

        A longer list is cut into several conditions, of which a server may allow few, too.
        """
        ...

    def flush(self, name: str) -> None:
        """Return when all writes so far are as durable as the engine can make them.

        On Edge they survive a power failure. A server keeps all acknowledged writes in its log,
        which survives the end of its process at any moment (``kill -9``), and writes that log to
        the disk every ``flush_interval_sec``, 5 seconds by default: a power failure may lose the
        last seconds. The surviving writes are then the first ones, in their order.
        """
        ...

    def optimize(self, name: str, *, progress: OptimizeProgress | None = None) -> None:
        """Return when the vector index over all points is built.

        Edge builds it now. A server builds it by itself, and this method waits for it, an hour at
        most; below its ``indexing_threshold`` a server builds none.

        Args:
            name: The collection.
            progress: Called with the number of vectors in the index and the number of points, at
                each request to a server; Edge does not call it.

        Raises:
            StoreError: The server cannot build it, or has not built it by then.
        """
        ...

    def close(self) -> None:
        """Release files and connections; a second call does nothing."""
        ...

    async def aclose(self) -> None:
        """Do what :meth:`close` does, without blocking the event loop."""
        ...

    async def __aenter__(self) -> Self:
        """Return the store itself."""
        ...

    async def __aexit__(self, *error: object) -> None:
        """Close the store."""
        ...

    def __enter__(self) -> Self:
        """Return the store itself."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Close the store."""
        ...


def each(
    store: Store, name: str, where: Where, fetch: Select, *, page: int = 1_000
) -> Iterator[list[Point]]:
    """Yield all points that match, page by page. The points of a yielded page may be deleted."""
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
    """Cut a sequence into parts of ``size``; the last may be shorter."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
