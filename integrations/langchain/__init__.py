"""LangChain classes over an encoder and a collection.

``DecantEmbeddings`` is an ``Embeddings``, ``DecantVectorStore`` is a ``VectorStore``. Each is
imported when it is first used, so that embeddings alone do not load the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .embeddings import DecantEmbeddings as DecantEmbeddings
    from .vector_store import DecantVectorStore as DecantVectorStore

_HOME = {
    "DecantEmbeddings": "embeddings",
    "DecantVectorStore": "vector_store",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from decant.embedders import need

    need("langchain_core", extra="langchain")
    value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
