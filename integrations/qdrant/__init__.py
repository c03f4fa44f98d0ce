"""Collections of texts in Qdrant, in this process or on a server, each tied to one recipe.

Everything public is here by name; each name is imported when it is first used.
"""

from __future__ import annotations

from decant.embedders.lazy_names import LazyNames

_names = LazyNames(__name__, __file__)
__all__ = _names.names  # noqa: PLE0605


def __getattr__(name: str) -> object:
    return _names.load(name)


def __dir__() -> list[str]:
    return _names.names
