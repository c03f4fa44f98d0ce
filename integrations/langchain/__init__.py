"""LangChain classes over an encoder and a collection.

``DecantEmbeddings`` is an ``Embeddings``, ``DecantVectorStore`` is a ``VectorStore``. Each is
imported when it is first used, so that embeddings alone do not load the store.
"""

from __future__ import annotations

from decant.embedders.errors import need
from decant.embedders.lazy_names import lazy_names


def _check(_module: str) -> None:
    need("langchain_core", extra="langchain")


__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, check=_check)
