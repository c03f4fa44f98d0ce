"""LangChain classes over an encoder and a collection.

``DecantEmbeddings`` is an ``Embeddings``, ``DecantVectorStore`` is a ``VectorStore``. Each is
imported when it is first used, so that embeddings alone do not load the store.
"""

from __future__ import annotations

from decant.embedders.errors import need
from decant.embedders.lazy_names import LazyNames


def _check(_module: str) -> None:
    need("langchain_core", extra="langchain")


_names = LazyNames(__name__, __file__, check=_check)
__all__ = _names.names  # noqa: PLE0605


def __getattr__(name: str) -> object:
    return _names.load(name)


def __dir__() -> list[str]:
    return _names.names
