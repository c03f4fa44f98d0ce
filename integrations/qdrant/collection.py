"""A collection: a store, a name, and the one encoder whose vectors it holds.

Adding, indexing and deleting, each also as a coroutine, are here as thin methods, and what reads is
in ``searchable.py``; the work of indexing is in ``indexing/index.py``, of deleting in
``indexing/delete.py``. Invariant: every vector in a collection was made as its recipe says, or
given by a caller who vouches for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self

from decant.embedders import Encoder, Vectors

from .coroutines.threads import as_coroutine
from .indexing.add import add
from .indexing.bulk import bulk_load
from .indexing.chunking import Chunking
from .indexing.delete import Remover
from .indexing.documents import Document
from .indexing.index import Hands, Ways, ingest
from .indexing.report import IndexProgress, IndexReport
from .inference.server_inference import ServerInference
from .open import create_target, open_or_create_target, open_target, tenant_target
from .points.handle import Target
from .points.locks import lock_of
from .points.passages import Record
from .points.payloads import checked_ids
from .points.provenance import FillingNotes
from .searchable import SearchableCollection
from .searching.plans import keep_defaults
from .stores.collection_settings import (
    CollectionSettings,
    Layout,
    PayloadIndex,
    StoredLayout,
    check_only_layout,
)
from .stores.filters import Where
from .stores.input_errors import TenantError
from .stores.protocol import Engine, OptimizeProgress, Store
from .stores.search_defaults import SearchDefaults
from .tenants.unbound_store import UnboundStore, without_tenant

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Collection(SearchableCollection):
    """Texts and their vectors under one recipe; made by :meth:`create` or :meth:`open`.

    Safe to use from several threads, through one object or several: within a process, indexing
    runs take turns, and who deletes waits for one batch of a run. On a server, processes that index
    or delete take turns, too; a folder is open in one process.

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
        super().__init__(target)
        lock = lock_of(target.store, target.name, target.mark)
        lock.noted.clear()  # of another collection of this name, perhaps
        self._remover = Remover(target.store, target.name, lock)
        keeps_golden = target.store.engine is Engine.REMOTE and not self.embeds_on_server
        # Another program would read a note as a point of its own.
        self._notes = FillingNotes(
            target.store,
            target.name,
            target.encoder if target.payload_layout is None else None,
            lock,
            golden=keeps_golden,
        )
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
            RecipeError: States shall be kept, and the encoder has none, or its model was not
                trained for a prefix of this length.
        """
        return cls(create_target(store, name, encoder, settings))

    @classmethod
    def open(cls, store: Store, name: str, encoder: Encoder | ServerInference) -> Self:
        """Open a collection with the encoder that filled it, or with its name at a server.

        With :class:`ServerInference` the Qdrant server has texts embedded. That its model is the
        collection's is proven before the first search or write.

        Raises:
            TypeError: ``store`` is no store, such as a folder, or ``encoder`` no encoder.
            CollectionMismatch: Another recipe filled it; the message names both.
            StoreError: There is none of this name; the message names those that are. Or the store
                asks no inference service.
        """
        return cls(open_target(store, name, encoder))

    @classmethod
    def open_or_create(
        cls,
        store: Store,
        name: str,
        encoder: Encoder | ServerInference,
        *,
        settings: CollectionSettings | None = None,
    ) -> Self:
        """Open a collection, or make it if there is none of this name; see both.

        One that is there keeps its own settings, and is refused where it lacks states asked for, or
        where its layout is not as asked.
        """
        return cls(open_or_create_target(store, name, encoder, settings))

    def tenant(self, name: str) -> Self:
        """Return the collection as one tenant sees it: nothing of others is read or changed.

        All methods work as if the collection held the tenant's passages alone, also in the
        statistics of words, but for those that concern all tenants: :meth:`set_search_defaults`,
        :meth:`add_index`, :meth:`relayout` and :meth:`optimize` are methods of the collection
        without a tenant. Ids of records and sources need not differ between tenants, and
        :meth:`each` yields passages in another order.

        Args:
            name: The tenant; a new one needs no preparation.

        Raises:
            TenantError: The collection has no tenants, or is a tenant's already.
            StoreInputError: Nobody can have this name.
        """
        return type(self)(tenant_target(self._target, name))

    def for_tenant(self, name: str | None) -> Self:
        """Return :meth:`tenant` of a name that may be None, where a collection may have tenants.

        Raises:
            TenantError: The name is None, and the collection has tenants; or as :meth:`tenant`.
        """
        if name is not None:
            return self.tenant(name)
        if isinstance(self._store, UnboundStore):
            raise without_tenant(f"the collection {self._name!r}", self._store.place)
        return self

    def tenant_names(self) -> list[str]:
        """Return the names of the tenants that have stored passages, sorted; for administrators.

        Raises:
            TenantError: The collection has no tenants, or is a tenant's.
        """
        if isinstance(self._store, UnboundStore):
            return self._store.tenant_names()
        raise TenantError(
            f"only a collection with tenants, opened without one, lists them, and {self!r} is not"
        )

    @classmethod
    def adopt(
        cls,
        store: Store,
        name: str,
        encoder: Encoder,
        *,
        text: str | None = None,
        metadata: str | None = None,
        vector: str | None = None,
    ) -> Self:
        """Make a collection that another program filled one of decant's, and open it.

        It is audited first (:func:`audit`), and adopted only if this encoder made all sampled
        vectors. Only its metadata are written, and the index of its sources on a server; points
        stay in the other program's layout, in which :meth:`add` writes, too, so that program goes
        on reading and writing. Searches, filters, :meth:`get`, :meth:`add` and deleting work as in
        any collection; a point whose id is a number has a UUID here that ends with it in
        hexadecimal. What needs decant's own points is refused: :meth:`index`, words, sparse
        vectors, and :class:`ServerInference`.

        Args:
            store: A server, or qdrant-client's local mode.
            name: The collection's name there.
            encoder: What should have filled it.
            text: The payload field with the text; None: it is found, as for the next two.
            metadata: The payload field with the metadata; "": they are the other fields.
            vector: The name of the vector; "": the one without a name.

        Raises:
            CollectionMismatch: The audit did not pass; the message says what the vectors are.
            StoreError: There is no such collection, decant has it already, its points or its
                distance do not fit, or the store is a folder.
        """
        from .adoption.adopt import adopt_target  # which needs qdrant-client
        from .adoption.settings import AuditSettings

        wanted = AuditSettings(text=text, metadata=metadata, vector=vector)
        return cls(adopt_target(store, name, encoder, wanted))

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
            StoreError: The store failed, the encoder gave a vector that is not finite, another
                process deletes what is written, again and again, or the collection was adopted.
        """
        self._target.check_own("indexing documents")
        ways = Ways(chunking=chunking or Chunking(), verify=verify, progress=progress)
        return ingest(self._target, documents, ways, self._hands)

    def add(
        self,
        records: Sequence[Record],
        *,
        vectors: Vectors | NDArray[np.float32] | None = None,
        texts: Sequence[str] | None = None,
    ) -> list[str]:
        """Store records as they are, replacing those of the same ids, and return their ids.

        Args:
            records: Of several with the same id the last one counts.
            vectors: What the encoder gave, or dense ones alone: float32, shape
                ``(len(records), D)``. That the encoder gives them is not checked. Without sparse
                vectors a record is not found by a SPARSE search, and by a HYBRID one only through
                the dense ranking. By default texts are embedded, and a blank text has no vector
                (:class:`Record`).
            texts: What is embedded in place of each record's own text, such as the text with a
                title; it is not stored. It has no effect together with ``vectors``.

        Raises:
            TypeError: ``records`` is one, or holds something else than records.
            StoreError: A vector is not finite or not of the collection's width, or sparse ones
                are not wanted here; then nothing is stored.
        """
        note = self._notes.embedded if vectors is None else self._notes.given
        return add(self._target, records, vectors, self._remover, note, texts=texts)

    def keep_golden_vectors(self) -> None:
        """Keep the vectors of one text, by which :class:`ServerInference` knows the model.

        The first write with an encoder does this by itself for collections on a server. Those that
        are kept of the same precision are replaced.

        Raises:
            StoreError: The server makes the vectors, so they prove nothing, the store cannot
                write, or the collection was adopted.
        """
        self._target.check_own("keeping golden vectors")
        self._notes.keep_golden_vectors()

    def delete(self, ids: Sequence[str]) -> int:
        """Delete records and chunks, and return how many there were.

        Chunks of a document come back when the document is next indexed. A point that another
        program wrote into the collection is deleted by its id, if that is a UUID.

        Raises:
            StoreError: ``ids`` is one string, or holds something else than strings.
        """
        return self._remover.ids([self._target.point_id(one) for one in checked_ids(ids)])

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

    def set_search_defaults(self, defaults: SearchDefaults | None) -> None:
        """Keep in the collection how it is searched by default; None removes that.

        Raises:
            StoreError: The collection lacks a ranking of the mode, or the store cannot write.
        """
        self._target = keep_defaults(self._target, defaults)

    def add_index(self, entry: PayloadIndex) -> None:
        """Index a metadata entry, which makes filters on it fast in large collections."""
        self._store.add_index(self._name, entry)

    def relayout(self, layout: Layout) -> StoredLayout:
        """Change how the engine stores the collection, and return its layout when that is done.

        Searches go on meanwhile on a server; on Edge nothing else in this process runs, and as much
        free disk space as the collection takes is needed. Vectors are not embedded again. A call
        that was interrupted is completed by the same call again.

        Args:
            layout: What to change; None leaves a setting as it is.

        Raises:
            StoreError: It changes shards or replicas, or the engine or its version does not have
                it; then nothing is changed. Or the store failed.
        """
        self._target.check_own("another layout")
        check_only_layout(layout)
        self._store.relayout(self._name, layout)
        return self._store.layout(self._name)

    def optimize(self, *, progress: OptimizeProgress | None = None) -> None:
        """Return when the vector index is built; see :meth:`Store.optimize`.

        Worth it on Edge above some fifty thousand passages; below, comparing with all is fast.
        On Edge nothing else in this process runs meanwhile, so do not call it from a server there.
        A Qdrant server builds the index by itself, and is waited for.

        Args:
            progress: Told how many vectors a server has in its index, and how many points.
        """
        self._store.optimize(self._name, progress=progress)

    def bulk(self) -> AbstractContextManager[None]:
        """Return a context in which a server builds no vector index while much is loaded.

        At its end the server builds it once, with the collection's own settings, also after an
        exception; :meth:`optimize` waits for that. Meanwhile searches compare one by one. If the
        process is killed, ``decant doctor`` names it, and the next block, :meth:`index` or
        :meth:`optimize` ends it. On Edge nothing is built before :meth:`optimize` anyway.

        Raises:
            TenantError: It is the collection of a tenant; the index is that of all.
        """
        return bulk_load(self._store, self._name, self._hands.lock)

    # Each does what the method without the "a" does, in a thread.
    aindex = as_coroutine(index)
    aadd = as_coroutine(add)
    adelete = as_coroutine(delete)
    adelete_where = as_coroutine(delete_where)
    adelete_source = as_coroutine(delete_source)
    aclear = as_coroutine(clear)
    aset_search_defaults = as_coroutine(set_search_defaults)
    arelayout = as_coroutine(relayout)
    atenant_names = as_coroutine(tenant_names)
