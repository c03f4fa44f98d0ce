"""The model in PyTorch: the reference for graphs, and the model that is trained."""

from __future__ import annotations

from ..errors import need
from ..lazy_names import LazyNames


def _check(_module: str) -> None:
    need("torch", extra="export")
    need("transformers", extra="export")


_names = LazyNames(__name__, __file__, check=_check)
__all__ = _names.names  # noqa: PLE0605


def __getattr__(name: str) -> object:
    return _names.load(name)


def __dir__() -> list[str]:
    return _names.names
