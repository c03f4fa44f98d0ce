"""What a vector is and how to compute one.

Everything public is here by name; each name is imported when it is first used, so that importing
this package costs next to nothing and loads no heavy library.
"""

from __future__ import annotations

from .errors import need
from .lazy_names import LazyNames


def _check(module: str) -> None:
    if module.startswith("pytorch."):
        need("torch", extra="export")
        need("transformers", extra="export")


_names = LazyNames(__name__, __file__, check=_check)
__all__ = _names.names  # noqa: PLE0605


def __getattr__(name: str) -> object:
    return _names.load(name)


def __dir__() -> list[str]:
    return _names.names
