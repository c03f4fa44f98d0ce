"""What can be read from a collection: passages by id, by condition and by search; facts about it.

Nothing here changes a collection; what does is in ``collection.py``. Each method is thin: the work
of searching is in ``searching/search.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from decant.embedders import Encoder, Reranker, Vectors

from .coroutines.reads import StoreReads, loop_reads
from .coroutines.run_now import immediate, run_now
from .coroutines.threads import as_coroutine, run_in_thread
from .indexing.check import CheckReport, check_collection
from .inference.server_encoder import ServerEncoder
from .info import CollectionInfo
from .points.handle import Target
from .points.passages import Hit, Passage, passage
from .points.payloads import passages
from .read import fetch_passages, fetch_soft_tokens
from .searching.options import SearchOptions, with_rerank
from .searching.plans import SearchPlan, plan_for_texts, plan_for_vectors
from .searching.rerank import score_here
from .searching.search import Window
from .searching.traced_search import traced_search
from .stores.filters import Where
from .stores.protocol import Select, Store, each
from .stores.queries import SearchMode
from .stores.search_defaults import Fusion, SearchDefaults

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def _is_late(options: SearchOptions | None) -> bool:
    return options is not None and options.late is not None


class SearchableCollection:
    """The part of a :class:`Collection` that reads.

    Args:
        target: The store, the name there, and the encoder.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._store = target.store
        self._name = target.name

    def __repr__(self) -> str:
        """Return the name, the store and the model; nothing is asked of the store."""
        recipe = self.encoder.recipe
        return (
            f"Collection({self.name!r}, {self._store!r}, {recipe.base!r}, "
            f"recipe {recipe.digest()!r})"
        )

    @property
    def name(self) -> str:
        """The name by which it was opened: its own, or an alias of it."""
        return self._target.called

    @property
    def encoder(self) -> Encoder:
        """What makes its vectors."""
        return self._target.encoder

    @property
    def store(self) -> Store:
        """What holds it."""
        return self._store

    @property
    def has_sparse(self) -> bool:
        """Whether passages have sparse vectors beside dense ones."""
        return self._target.sparse

    @property
    def has_words(self) -> bool:
        """Whether the words of passages are indexed."""
        return self._target.words is not None

    @property
    def search_defaults(self) -> SearchDefaults | None:
        """How it is searched where a search does not specify it, as it was when it was opened."""
        return self._target.search

    @property
    def embeds_on_server(self) -> bool:
        """Whether the server has texts embedded, and no vector of them is ever here."""
        return isinstance(self.encoder, ServerEncoder)

    @property
    def has_soft_tokens(self) -> bool:
        """Whether passages keep the states of appended tokens."""
        return self._target.soft_tokens is not None

    @property
    def has_token_vectors(self) -> bool:
        """Whether passages have vectors of their tokens, by which hits can be ordered."""
        return self._target.token_vectors is not None

    def get(self, ids: Sequence[str], *, with_vectors: bool = False) -> list[Passage]:
        """Return the records and chunks with these ids, in this order; missing ones are left out.

        Args:
            ids: As they were given, or as hits have them.
            with_vectors: Whether the passages hold their dense vectors.

        Raises:
            StoreError: ``ids`` is one string, or holds something else than strings.
        """
        reads = StoreReads(self._store)
        return run_now(fetch_passages(self._target, reads, ids, with_vectors=with_vectors))

    async def aget(self, ids: Sequence[str], *, with_vectors: bool = False) -> list[Passage]:
        """Do what :meth:`get` does, without blocking the event loop."""
        if (reads := await loop_reads(self._store, self._name)) is None:
            return await run_in_thread(self.get, ids, with_vectors=with_vectors)
        return await fetch_passages(self._target, reads, ids, with_vectors=with_vectors)

    def soft_tokens(self, passages: Sequence[str | Passage]) -> NDArray[np.float32]:
        """Return the states of appended tokens that are kept, float32, shape (N, n, d').

        They are what the encoder gave as :attr:`Output.SOFT_TOKENS` when the texts were stored, so
        that a hit can be read back without the model (:class:`Explainer`).

        Args:
            passages: N ids, passages or hits.

        Raises:
            StoreError: The collection keeps none, one of these is not there or has none, or
                ``passages`` is one string.
        """
        return fetch_soft_tokens(self._target, passages)

    def each(self, where: Where | None = None, *, with_vectors: bool = False) -> Iterator[Passage]:
        """Yield all passages, or all that match, in the order of their point ids.

        Those that come or go meanwhile may be missed.
        """
        fetch = Select(dense=with_vectors)
        for page in each(self._store, self._name, passages(where), fetch):
            yield from map(passage, page)

    def search(  # noqa: PLR0913 - each is one thing that a user asks of a search
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
        with_vectors: bool = False,
        mode: SearchMode | None = None,
        fusion: Fusion | None = None,
        options: SearchOptions | None = None,
        rerank: Reranker | None = None,
        candidates: int | None = None,
    ) -> list[Hit]:
        """Return the passages that fit a query best, best first.

        Args:
            query: Embedded as a query.
            limit: How many, at most.
            offset: How many of the best to pass over; pages of HYBRID never overlap.
            where: Only passages for which this holds, in every ranking.
            with_vectors: Whether the hits hold their dense vectors.
            mode: The ranking, which decides the scores; see :class:`SearchMode`. None: that of
                :attr:`search_defaults` if ``fusion`` is None too, else HYBRID where there are
                sparse vectors or an index of words, else DENSE.
            fusion: How HYBRID makes one ranking of several; None: that of :attr:`search_defaults`
                where ``mode`` is theirs, else :class:`Fusion`'s defaults.
            options: Thresholds, groups, boosts, variety, exactness.
            rerank: Orders the best hits anew by its scores on their texts, which become the scores
                of the hits (:class:`Rerank`).
            candidates: How many of the best hits it scores; None is 50.

        Raises:
            TextError: ``query`` is empty, or leaves the reranker no room for a passage.
            StoreError: ``limit`` is below 1 or ``offset`` below 0, the store failed, the mode
                needs a ranking that the collection does not have, or a hit has no text to rerank.
        """
        options = with_rerank(options, rerank, candidates)
        window = Window.of(limit, offset, where, options, with_vectors=with_vectors)
        plan = partial(plan_for_texts, self._target, [query], mode, fusion, late=_is_late(options))
        return self._search(plan, window)[0]

    def search_many(  # noqa: PLR0913 - as search
        self,
        queries: Iterable[str],
        *,
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
        with_vectors: bool = False,
        mode: SearchMode | None = None,
        fusion: Fusion | None = None,
        options: SearchOptions | None = None,
        rerank: Reranker | None = None,
        candidates: int | None = None,
    ) -> list[list[Hit]]:
        """Return the hits of each of several queries; see :meth:`search`.

        The queries are embedded together, and up to 64 searches are one request, which is faster.

        Raises:
            TypeError: ``queries`` is one string.
            TextError: A query is empty.
            StoreError: As :meth:`search`.
        """
        options = with_rerank(options, rerank, candidates)
        window = Window.of(limit, offset, where, options, with_vectors=with_vectors)
        plan = partial(plan_for_texts, self._target, queries, mode, fusion, late=_is_late(options))
        return self._search(plan, window)

    def search_vector(  # noqa: PLR0913 - as search
        self,
        vector: Vectors | NDArray[np.float32],
        *,
        text: str | None = None,
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
        with_vectors: bool = False,
        mode: SearchMode | None = None,
        fusion: Fusion | None = None,
        options: SearchOptions | None = None,
        rerank: Reranker | None = None,
        candidates: int | None = None,
    ) -> list[Hit]:
        """Return the passages nearest to a query that was embedded already; see :meth:`search`.

        ``vector`` is a dense vector, shape ``(D,)``, or what the encoder returned for one query,
        perhaps with a sparse vector; ``text`` is the query's text, for its words and for a
        reranker. Without ``mode``
        rankings count as there only if ``vector`` or ``text`` has what they compare.

        Raises:
            StoreError: As :meth:`search`; or ``vector`` has another width than the collection's,
                is not finite, or lacks the sparse vector that the mode compares.
        """
        options = with_rerank(options, rerank, candidates)
        window = Window.of(limit, offset, where, options, with_vectors=with_vectors)
        plan = partial(
            plan_for_vectors, self._target, vector, mode, fusion, text=text, late=_is_late(options)
        )
        return self._search(lambda: [plan()], window)[0]

    async def asearch(  # noqa: PLR0913 - as search
        self,
        query: str,
        *,
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
        with_vectors: bool = False,
        mode: SearchMode | None = None,
        fusion: Fusion | None = None,
        options: SearchOptions | None = None,
        rerank: Reranker | None = None,
        candidates: int | None = None,
    ) -> list[Hit]:
        """Do what :meth:`search` does, without blocking the event loop."""
        options = with_rerank(options, rerank, candidates)
        window = Window.of(limit, offset, where, options, with_vectors=with_vectors)
        plan = partial(plan_for_texts, self._target, [query], mode, fusion, late=_is_late(options))
        return (await self._asearch(plan, window))[0]

    async def asearch_many(  # noqa: PLR0913 - as search
        self,
        queries: Iterable[str],
        *,
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
        with_vectors: bool = False,
        mode: SearchMode | None = None,
        fusion: Fusion | None = None,
        options: SearchOptions | None = None,
        rerank: Reranker | None = None,
        candidates: int | None = None,
    ) -> list[list[Hit]]:
        """Do what :meth:`search_many` does, without blocking the event loop."""
        options = with_rerank(options, rerank, candidates)
        window = Window.of(limit, offset, where, options, with_vectors=with_vectors)
        plan = partial(plan_for_texts, self._target, queries, mode, fusion, late=_is_late(options))
        return await self._asearch(plan, window)

    async def asearch_vector(  # noqa: PLR0913 - as search
        self,
        vector: Vectors | NDArray[np.float32],
        *,
        text: str | None = None,
        limit: int = 10,
        offset: int = 0,
        where: Where | None = None,
        with_vectors: bool = False,
        mode: SearchMode | None = None,
        fusion: Fusion | None = None,
        options: SearchOptions | None = None,
        rerank: Reranker | None = None,
        candidates: int | None = None,
    ) -> list[Hit]:
        """Do what :meth:`search_vector` does, without blocking the event loop."""
        options = with_rerank(options, rerank, candidates)
        window = Window.of(limit, offset, where, options, with_vectors=with_vectors)
        plan = partial(
            plan_for_vectors, self._target, vector, mode, fusion, text=text, late=_is_late(options)
        )
        return (await self._asearch(lambda: [plan()], window, embeds=False))[0]

    def _search(self, plan: Callable[[], Sequence[SearchPlan]], window: Window) -> list[list[Hit]]:
        reads = StoreReads(self._store)
        return run_now(traced_search(self._target, reads, immediate(plan), window, score_here))

    async def _asearch(
        self, plan: Callable[[], Sequence[SearchPlan]], window: Window, *, embeds: bool = True
    ) -> list[list[Hit]]:
        """Search from the event loop where the store can; a thread embeds, or does all."""
        if (reads := await loop_reads(self._store, self._name)) is None:
            return await run_in_thread(self._search, plan, window)
        planned = partial(run_in_thread, plan) if embeds else immediate(plan)
        return await traced_search(self._target, reads, planned, window, run_in_thread)

    def count(self, where: Where | None = None) -> int:
        """Return how many chunks and records there are, or how many of them match."""
        return self._store.count(self._name, passages(where))

    async def acount(self, where: Where | None = None) -> int:
        """Do what :meth:`count` does, without blocking the event loop."""
        if (reads := await loop_reads(self._store, self._name)) is None:
            return await run_in_thread(self.count, where)
        return await reads.count(self._name, passages(where))

    def info(self) -> CollectionInfo:
        """Return what the collection is and how much it holds."""
        return CollectionInfo.of(self._target)

    def check(self, *, most_findings: int = 100) -> CheckReport:
        """Read all that the collection holds, and report what is wrong; nothing is changed.

        The chunks of each document are compared with what was written, by number, id and place,
        each text with its hash; vectors must be there, finite and not zeros alone. That a vector
        or metadata are the right ones is not seen. Documents that a run of this process has under
        way are left out. What is wrong is put right by ``index(…, verify=True)``; chunks of no
        document also by :meth:`delete_source`.

        Args:
            most_findings: How many to list one by one; all are counted.
        """
        return check_collection(self._store, self._name, most_findings=most_findings)

    # Each does what the method without the "a" does, in a thread.
    asoft_tokens = as_coroutine(soft_tokens)
    acheck = as_coroutine(check)
