"""LangChain classes over an encoder, a reranker and a collection.

``DecantEmbeddings`` is an ``Embeddings``, ``DecantVectorStore`` is a ``VectorStore``,
``DecantRetriever`` is a ``BaseRetriever``, ``DecantReranker`` a ``BaseDocumentCompressor``.
``DecantSparseEmbeddings`` and ``BM25SparseEmbeddings`` serve the store of ``langchain-qdrant``,
which they need. Each is imported when it is first used, so that embeddings alone do not load the
store.
"""

from __future__ import annotations

from decant.embedders.errors import need
from decant.embedders.lazy_names import lazy_names


def _check(module: str) -> None:
    need("langchain_core", extra="langchain")
    if module == "sparse_embeddings":
        need("langchain_qdrant", extra="langchain-qdrant")


__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, check=_check)
