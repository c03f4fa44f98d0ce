"""A LangChain document compressor that keeps what a reranker finds best.

It reranks documents of any retriever, as in ``ContextualCompressionRetriever``. Those of a decant
collection are reranked within their search by :class:`DecantRetriever`, without a second class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field, field_validator

from decant.embedders import load_reranker

from ..qdrant import run_in_thread
from ..text_ranks import rank_texts


class DecantReranker(BaseDocumentCompressor):
    """Keeps the ``top_n`` documents that answer a query best, best first.

    A document that is kept is a copy with its score as ``relevance_score`` in its metadata, as
    LangChain's other rerankers have it. A copy of the compressor shares the reranker. It can be
    pickled if its reranker can: one of a bundle opens the bundle again.

    Args:
        reranker: Computes the scores.
        top_n: How many documents to keep; None keeps all.
        instruction: The task, for rerankers that take one, in place of the recipe's own.

    Raises:
        ValidationError: An argument is unknown or of the wrong kind.

    >>> from decant.embedders import HashReranker
    >>> from langchain_core.documents import Document
    >>> documents = [Document("deep sea"), Document("oaks grow slowly")]
    >>> compressor = DecantReranker(reranker=HashReranker(), top_n=1)
    >>> compressor.compress_documents(documents, "what do oaks do")[0].page_content
    'oaks grow slowly'
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    reranker: Any
    top_n: int | None = Field(default=3, ge=1)
    instruction: str | None = None

    @classmethod
    def from_bundle(
        cls,
        path: str | Path,
        *,
        provider: str = "auto",
        precision: str = "auto",
        top_n: int | None = 3,
        instruction: str | None = None,
    ) -> Self:
        """Open a reranker's bundle and rerank with it.

        Args:
            path: The bundle's folder, or the address of a reranker that ``decant serve`` has.
            provider: The execution provider, for example ``"cuda"``; ``"auto"`` takes the best.
            precision: The precision of the graph; ``"auto"`` takes the best for the provider.
            top_n: How many documents to keep; None keeps all.
            instruction: The task, in place of the recipe's own.

        Raises:
            BundleError: The bundle is missing, damaged, or no reranker's.
            ProviderError: The provider is not the one that would run.
            ParityError: The graph is not certified on this provider.
        """
        opened = load_reranker(path, provider=provider, precision=precision)
        return cls(reranker=opened, top_n=top_n, instruction=instruction)

    @field_validator("reranker")
    @classmethod
    def _check_reranker(cls, given: Any) -> Any:  # noqa: ANN401 - a protocol, which pydantic lacks
        if not callable(getattr(given, "score_pairs", None)):
            raise ValueError(
                f"reranker takes a reranker, got {given!r}; open one with "
                "DecantReranker.from_bundle(path)"
            )
        return given

    def __repr__(self) -> str:
        """Return the class, the model and the number of documents."""
        return f"DecantReranker({self.reranker.recipe.base!r}, top_n={self.top_n})"

    __str__ = __repr__

    def __deepcopy__(self, memo: Mapping[int, object] | None = None) -> Self:
        """Return a copy that shares the reranker."""
        return self.__copy__()

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002 - LangChain passes it
    ) -> list[Document]:
        """Return copies of the documents that answer the query best, best first.

        Raises:
            TextError: A document has no text, or the query is empty or leaves no room for a
                passage.
            RecipeError: The reranker takes no instruction.
        """
        held = list(documents)
        if not held:
            return []
        ranks = rank_texts(
            self.reranker,
            query,
            [document.page_content for document in held],
            names=[_name(place, document) for place, document in enumerate(held)],
            instruction=self.instruction,
            top_n=self.top_n,
        )
        return [_scored(held[place], score) for place, score in ranks]

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,
    ) -> list[Document]:
        """Do what :meth:`compress_documents` does, without blocking the event loop."""
        return await run_in_thread(self.compress_documents, documents, query, callbacks)


def _name(place: int, document: Document) -> str:
    return f"document {place}" + ("" if document.id is None else f" of id {document.id!r}")


def _scored(document: Document, score: float) -> Document:
    metadata = {**document.metadata, "relevance_score": score}
    return document.model_copy(update={"metadata": metadata})
