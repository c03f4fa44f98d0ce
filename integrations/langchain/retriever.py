"""A LangChain retriever over a collection, whose documents say where the search found them.

Every call is one :meth:`Collection.search`, and with it one embedding of the query at most. The cut
by relevance that LangChain's own retrievers have is in :meth:`DecantVectorStore.as_retriever`.
"""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from pydantic import ConfigDict, Field, InstanceOf, field_validator

from decant.embedders import Reranker

from ..qdrant import Collection, Fusion, Hit, SearchMode, SearchOptions
from ..qdrant.searching.options import with_rerank
from .conversion import to_document
from .filters import Filter, to_condition
from .open_once import OpenOnce


class DecantRetriever(OpenOnce, BaseRetriever):
    """Finds the passages of a collection that fit a query best, best first.

    A document's metadata are those that :class:`DecantVectorStore` shows, and three entries with
    an underscore, as ``langchain-qdrant`` marks its own; all three are JSON. An entry of the
    passage's own of such a name stays as it is.

    - ``_score``: the score in the mode of the search (:class:`SearchMode`), fused for HYBRID;
    - ``_rank``: the place in this search, from 1;
    - ``_branches``: for each ranking that found the passage a dict of ``name``, ``rank`` and
      ``score``.

    ``invoke`` and its like take all fields but the collection and the tenant for one call.

    A copy, deep or not, is the retriever itself, because its collection is open once; it cannot be
    pickled.

    Args:
        collection: Any collection, also one that was filled by :meth:`Collection.index`.
        tenant: Whose passages are found, in a collection with tenants (:meth:`Collection.tenant`).
        k: How many documents, at most.
        mode: The ranking; None is HYBRID if the collection has sparse vectors or indexes words, and
            else DENSE, as in :meth:`Collection.search`.
        fusion: How HYBRID makes one ranking of several.
        filter: As in :class:`DecantVectorStore`: a condition, a ``models.Filter``, or a mapping of
            entries to values or operators.
        options: Thresholds, groups, boosts, variety, exactness.
        rerank: A reranker, which orders the best hits anew (:class:`Rerank`); ``_score`` is its
            score then, and ``_branches`` has a ranking ``rerank``.
        candidates: How many hits it scores; None is 50.

    Raises:
        ValidationError: An argument is unknown or of the wrong kind.
        TenantError: The collection has tenants and none is given, or the other way round.
        StoreError: The filter has an unknown operator or a value that cannot be compared, or
            ``candidates`` is given without a reranker.

    >>> import tempfile
    >>> from decant.embedders import HashEncoder
    >>> from decant.integrations.qdrant import Collection, Record, connect
    >>> with tempfile.TemporaryDirectory() as folder, connect(folder) as store:
    ...     trees = Collection.create(store, "trees", HashEncoder())
    ...     _ = trees.add([Record(id="oak", text="oaks grow"), Record(id="sea", text="deep sea")])
    ...     (found,) = DecantRetriever(collection=trees, k=1).invoke("what oaks do")
    ...     found.id, found.metadata["_rank"], found.metadata["_branches"][0]["name"]
    ('oak', 1, 'dense')
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    collection: InstanceOf[Collection]
    tenant: str | None = None
    k: int = Field(default=4, ge=1)
    mode: SearchMode | None = None
    fusion: InstanceOf[Fusion] | None = None
    filter: Any = None
    options: InstanceOf[SearchOptions] | None = None
    rerank: Any = None
    candidates: int | None = None

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401 - pydantic's
        """Choose the tenant, and check how hits are reranked."""
        super().model_post_init(context)
        with_rerank(self.options, self.rerank, self.candidates)
        self.collection = self.collection.for_tenant(self.tenant)

    @field_validator("filter")
    @classmethod
    def _check_filter(cls, wanted: Filter | None) -> Filter | None:
        to_condition(wanted)
        return wanted

    def __repr__(self) -> str:
        """Return the class, the collection and the number of documents."""
        return f"DecantRetriever({self.collection!r}, k={self.k})"

    __str__ = __repr__

    def _get_relevant_documents(  # noqa: PLR0913 - each field may differ in one call
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain passes it
        k: int | None = None,
        mode: SearchMode | None = None,
        fusion: Fusion | None = None,
        filter: Filter | None = None,  # noqa: A002
        options: SearchOptions | None = None,
        rerank: Reranker | None = None,
        candidates: int | None = None,
    ) -> list[Document]:
        hits = self.collection.search(
            query,
            limit=self.k if k is None else k,
            where=to_condition(self.filter if filter is None else filter),
            mode=self.mode if mode is None else mode,
            fusion=self.fusion if fusion is None else fusion,
            options=self.options if options is None else options,
            rerank=self.rerank if rerank is None else rerank,
            candidates=self.candidates if candidates is None else candidates,
        )
        return [_found(hit, rank) for rank, hit in enumerate(hits, 1)]

    async def _aget_relevant_documents(  # noqa: PLR0913 - each field may differ in one call
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain passes it
        k: int | None = None,
        mode: SearchMode | None = None,
        fusion: Fusion | None = None,
        filter: Filter | None = None,  # noqa: A002
        options: SearchOptions | None = None,
        rerank: Reranker | None = None,
        candidates: int | None = None,
    ) -> list[Document]:
        hits = await self.collection.asearch(
            query,
            limit=self.k if k is None else k,
            where=to_condition(self.filter if filter is None else filter),
            mode=self.mode if mode is None else mode,
            fusion=self.fusion if fusion is None else fusion,
            options=self.options if options is None else options,
            rerank=self.rerank if rerank is None else rerank,
            candidates=self.candidates if candidates is None else candidates,
        )
        return [_found(hit, rank) for rank, hit in enumerate(hits, 1)]

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:  # noqa: ANN401 - LangChain's
        """Return what LangSmith shows of a run: as ``as_retriever``, and the model."""
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = "DecantVectorStore"
        params["ls_embedding_provider"] = "DecantEmbeddings"
        params["ls_embedding_model"] = self.collection.encoder.recipe.base
        return params


def _found(hit: Hit, rank: int) -> Document:
    document = to_document(hit)
    branches = [
        {"name": branch.name, "rank": branch.rank, "score": branch.score} for branch in hit.branches
    ]
    search = {"_score": hit.score, "_rank": rank, "_branches": branches}
    document.metadata = {**search, **document.metadata}
    return document
