"""LlamaIndex classes over an encoder and a collection.

``DecantEmbedding`` is a ``BaseEmbedding``, ``DecantVectorStore`` a ``BasePydanticVectorStore``.
Each is imported when it is first used, so that the embedding alone does not load the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .embedding import DecantEmbedding as DecantEmbedding
    from .vector_store import DecantVectorStore as DecantVectorStore

_HOME = {
    "DecantEmbedding": "embedding",
    "DecantVectorStore": "vector_store",
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from decant.embedders import need

    need("llama_index.core", extra="llama-index")
    value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
