"""A collection: a store, a name, and the one encoder whose vectors it holds.

Adding, indexing, searching and deleting, each also as a coroutine, are here as thin methods; the
work of indexing is in ``indexing/index.py``, of searching in ``search.py``, of deleting in
``indexing/delete.py``. Invariant: every vector in a collection was made as its recipe says, or
given by a caller who vouches for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Self

from decant.embedders import Encoder, Vectors

from .indexing.add import add
from .indexing.check import CheckReport, check_collection
from .indexing.chunking import Chunking
from .indexing.delete import Remover
from .indexing.documents import Document
from .indexing.index import Hands, Ways, ingest
from .indexing.report import IndexProgress, IndexReport
from .info import CollectionInfo
from .open import create_target, open_or_create_target, open_target
from .points.handle import Target
from .points.locks import lock_of
from .points.passages import Hit, Passage, Record, passage
from .points.payloads import checked_ids, passages
from .points.provenance import FillingNotes
from .read import fetch_passages, fetch_soft_tokens
from .searching.fusion import Fusion
from .searching.search import Window, plan_for_text, plan_for_vectors, run_search
from .stores.collection_settings import CollectionSettings, PayloadIndex
from .stores.filters import Where
from .stores.point_ids import record_id
from .stores.protocol import OptimizeProgress, Select, Store, each
from .stores.queries import SearchMode
from .threads import as_coroutine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Collection:
    """Texts and their vectors under one recipe; made by :meth:`create` or :meth:`open`.

    Safe to use from several threads, through one object or several: within a process, indexing
    runs take turns, and who deletes waits for one batch of a run. One process at a time may index
    or delete in it.

    >>> import tempfile
    >>> from decant.embedders import HashEncoder
    >>> from decant.integrations.qdrant import Collection, Record, connect
    >>> with tempfile.TemporaryDirectory() as folder, connect(folder) as store:
    ...     docs = Collection.create(store, "docs", HashEncoder())
    ...     ids = docs.add([Record(id="a", text="a cat sat"), Record(id="b", text="rain")])
    ...     [hit.id for hit in docs.search("where is the cat?", limit=1)]
    ['a']
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._store = target.store
        self._name = target.name
        lock = lock_of(target.store, target.name, target.mark)
        lock.noted.clear()  # of another collection of this name, perhaps
        self._remover = Remover(target.store, target.name, lock)
        self._notes = FillingNotes(target.store, target.name, target.encoder, lock)
        self._hands = Hands(lock=lock, remover=self._remover, notes=self._notes)

    @classmethod
    def create(
        cls,
        store: Store,
        name: str,
        encoder: Encoder,
        *,
        settings: CollectionSettings | None = None,
    ) -> Self:
        """Make an empty collection for this encoder.

        If its recipe has a sparse head, texts get a dense and a sparse vector, from one pass.

        Raises:
            TypeError: As :meth:`open`.
            StoreError: There is one of this name, or the name is not allowed.
            RecipeError: States shall be kept, and the encoder has none.
        """
        return cls(create_target(store, name, encoder, settings))

    @classmethod
    def open(cls, store: Store, name: str, encoder: Encoder) -> Self:
        """Open a collection with the encoder that filled it.

        Raises:
            TypeError: ``store`` is no store, such as a folder, or ``encoder`` no encoder.
            CollectionMismatch: Another recipe filled it; the message names both.
            StoreError: There is none of this name; the message names those that are.
        """
        return cls(open_target(store, name, encoder))

    @classmethod
    def open_or_create(
        cls,
        store: Store,
        name: str,
        encoder: Encoder,
        *,
        settings: CollectionSettings | None = None,
    ) -> Self:
        """Open a collection, or make it if there is none of this name; see both.

        One that is there keeps its own settings, and is refused where it lacks states asked for.
        """
        return cls(open_or_create_target(store, name, encoder, settings))

    def __repr__(self) -> str:
        """Return the name, the store and the model; nothing is asked of the store."""
        recipe = self.encoder.recipe
        return (
            f"Collection({self._name!r}, {self._store!r}, {recipe.base!r}, "
            f"recipe {recipe.digest()!r})"
        )

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._name

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
    def has_soft_tokens(self) -> bool:
        """Whether passages keep the states of appended tokens."""
        return self._target.soft_tokens is not None

    def index(
        self,
        documents: Iterable[Document],
        *,
        chunking: Chunking | None = None,
        progress: IndexProgress | None = None,
        verify: bool = False,
    ) -> IndexReport:
        """Make the collection hold exactly the chunks of these documents.

        Unchanged documents cost one lookup. Of changed ones only new texts are embedded. Documents
        of the same roots that are not among these are removed at the end, unless they could not
        be read. An interrupted run loses nothing, and the next one completes it. Documents that
        others delete from while they are indexed are indexed again before the run ends.

        Chunks that the store has lost, or has beyond those written, are noticed at the end by their
        number in the roots of the documents. Then those of no document are deleted, and documents
        whose chunks do not fit are counted as ``damaged`` and repaired by the next run.

        Args:
            documents: Read once, in this thread; two with the same root and source are refused.
            chunking: How to cut them; chunks of at most 256 tokens by default.
            progress: Told the report so far, in this thread.
            verify: Whether to read all that is stored of these documents, and to repair in this
                run what is missing, beyond what was written, altered, or without a usable vector.
                That a finite vector is the right one is not seen.

        Raises:
            TypeError: ``documents`` is one, or a folder's name, or holds something else.
            TextError: A document comes twice, or a folder holds no readable text.
            StoreError: The store failed, the encoder gave a vector that is not finite, or another
                process deletes what is written, again and again.
        """
        ways = Ways(chunking=chunking or Chunking(), verify=verify, progress=progress)
        return ingest(self._target, documents, ways, self._hands)

    def add(
        self, records: Sequence[Record], *, vectors: Vectors | NDArray[np.float32] | None = None
    ) -> list[str]:
        """Store records as they are, replacing those of the same ids, and return their ids.

        Args:
            records: Of several with the same id the last one counts.
            vectors: What the encoder gave, or dense ones alone: float32, shape
                ``(len(records), D)``. That the encoder gives them is not checked. Without sparse
                vectors a record is not found by a SPARSE search, and by a HYBRID one only through
                the dense ranking. By default texts are embedded, and a blank text has no vector
                (:class:`Record`).

        Raises:
            TypeError: ``records`` is one, or holds something else than records.
            StoreError: A vector is not finite or not of the collection's width, or sparse ones
                are not wanted here; then nothing is stored.
        """
        note = self._notes.embedded if vectors is None else self._notes.given
        return add(self._target, records, vectors, self._remover, note)

    def get(self, ids: Sequence[str], *, with_vectors: bool = False) -> list[Passage]:
        """Return the records and chunks with these ids, in this order; missing ones are left out.

        Args:
            ids: As they were given, or as hits have them.
            with_vectors: Whether the passages hold their dense vectors.

        Raises:
            StoreError: ``ids`` is one string, or holds something else than strings.
        """
        return fetch_passages(self._target, ids, with_vectors=with_vectors)

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
    ) -> list[Hit]:
        """Return the passages that fit a query best, best first.

        Args:
            query: Embedded as a query.
            limit: How many, at most.
            offset: How many of the best to pass over; pages of HYBRID never overlap.
            where: Only passages for which this holds, in every ranking.
            with_vectors: Whether the hits hold their dense vectors.
            mode: The ranking, which decides the scores; see :class:`SearchMode`. None is HYBRID
                where there are sparse vectors or an index of words, else DENSE. A query without any
                weight has no sparse vector: SPARSE finds nothing, HYBRID what the other rankings
                find, in fused scores.
            fusion: How HYBRID makes one ranking of several; None: :class:`Fusion`'s defaults.

        Raises:
            TextError: ``query`` is empty.
            StoreError: ``limit`` is below 1 or ``offset`` below 0, the store failed, or the mode
                needs a ranking that the collection does not have.
        """
        window = Window(limit=limit, offset=offset, where=where, with_vectors=with_vectors)
        return run_search(self._target, plan_for_text(self._target, query, mode), window, fusion)

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
    ) -> list[Hit]:
        """Return the passages nearest to a query that was embedded already; see :meth:`search`.

        Args:
            vector: A dense vector, shape ``(D,)``, or what the encoder returned for one query,
                which may have a sparse vector next to the dense one.
            text: The query's text, for its words.
            limit: As in :meth:`search`.
            offset: As in :meth:`search`.
            where: As in :meth:`search`.
            with_vectors: As in :meth:`search`.
            mode: None is HYBRID where ``vector`` has a sparse vector, or there is a ``text`` and
                the collection indexes words, else DENSE.
            fusion: As in :meth:`search`.

        Raises:
            StoreError: As :meth:`search`; or ``vector`` has another width than the collection's,
                is not finite, or lacks the sparse vector that the mode compares.
        """
        window = Window(limit=limit, offset=offset, where=where, with_vectors=with_vectors)
        return run_search(
            self._target, plan_for_vectors(self._target, vector, mode, text=text), window, fusion
        )

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records and chunks, and return how many there were.

        Chunks of a document come back when the document is next indexed. A point that another
        program wrote into the collection is deleted by its id, if that is a UUID.

        Raises:
            StoreError: ``ids`` is one string, or holds something else than strings.
        """
        return self._remover.ids([record_id(identity) for identity in checked_ids(ids)])

    def delete_where(self, where: Where) -> int:
        """Delete the records and chunks that match, and return how many there were.

        Raises:
            StoreError: The condition is empty; to delete everything use :meth:`clear`.
        """
        return self._remover.matching(where)

    def delete_source(self, source: str, *, root: str | None = None) -> int:
        """Delete what came from a source, and return how many chunks and records there were.

        Args:
            source: Of documents or records.
            root: Only the document of this root; by default of all roots, and records.
        """
        return self._remover.source(source, root)

    def clear(self) -> None:
        """Delete everything in the collection; the empty collection stays."""
        self._remover.everything()

    def count(self, where: Where | None = None) -> int:
        """Return how many chunks and records there are, or how many of them match."""
        return self._store.count(self._name, passages(where))

    def info(self) -> CollectionInfo:
        """Return what the collection is and how much it holds."""
        return CollectionInfo.of(self._target)

    def check(self, *, most_findings: int = 100) -> CheckReport:
        """Read all that the collection holds, and report what is wrong; nothing is changed.

        The chunks of each document are compared with what was written, by number, id and place,
        each text with its hash; vectors must be there, finite and not zeros alone. That a vector
        or metadata are the right ones is not seen. Documents that a run of this process has under
        way are left out. What is wrong is put right by ``index(…, verify=True)``; chunks of no
        document also by :meth:`delete_source`. Payload indexes that a server lacks are named.

        Args:
            most_findings: How many to list one by one; all are counted.
        """
        return check_collection(self._store, self._name, most_findings=most_findings)

    def add_index(self, entry: PayloadIndex) -> None:
        """Index a metadata entry, which makes filters on it fast in large collections."""
        self._store.add_index(self._name, entry)

    def optimize(self, *, progress: OptimizeProgress | None = None) -> None:
        """Return when the vector index is built; see :meth:`Store.optimize`.

        Worth it on Edge above some fifty thousand passages; below, comparing with all is fast.
        On Edge nothing else in this process runs meanwhile, so do not call it from a server there.
        A Qdrant server builds the index by itself, and is waited for.

        Args:
            progress: Told how many vectors a server has in its index, and how many points.
        """
        self._store.optimize(self._name, progress=progress)

    # Each does what the method without the "a" does, in a thread.
    aindex = as_coroutine(index)
    aadd = as_coroutine(add)
    aget = as_coroutine(get)
    asoft_tokens = as_coroutine(soft_tokens)
    asearch = as_coroutine(search)
    asearch_vector = as_coroutine(search_vector)
    adelete = as_coroutine(delete)
    adelete_where = as_coroutine(delete_where)
    adelete_source = as_coroutine(delete_source)
    aclear = as_coroutine(clear)
    acount = as_coroutine(count)
    acheck = as_coroutine(check)
