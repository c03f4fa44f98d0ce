"""LlamaIndex classes over an encoder and a collection.

``DecantEmbedding`` is a ``BaseEmbedding``, ``DecantVectorStore`` a ``BasePydanticVectorStore``.
Each is imported when it is first used, so that the embedding alone does not load the store.
"""

from __future__ import annotations

from decant.embedders.errors import need
from decant.embedders.lazy_names import LazyNames


def _check(_module: str) -> None:
    need("llama_index.core", extra="llama-index")


_names = LazyNames(__name__, __file__, check=_check)
__all__ = _names.names  # noqa: PLE0605


def __getattr__(name: str) -> object:
    return _names.load(name)


def __dir__() -> list[str]:
    return _names.names
