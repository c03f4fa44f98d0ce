"""LlamaIndex classes over an encoder and a collection.

``DecantEmbedding`` is a ``BaseEmbedding``, ``DecantVectorStore`` a ``BasePydanticVectorStore``,
``DecantRerank`` a ``BaseNodePostprocessor``.
Each is imported when it is first used, so that the embedding alone does not load the store.
"""

from __future__ import annotations

from decant.embedders.errors import need
from decant.embedders.lazy_names import lazy_names


def _check(_module: str) -> None:
    need("llama_index.core", extra="llama-index")


__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, check=_check)
