"""Find out why a provider does not run here."""

from __future__ import annotations

from ..lazy_names import LazyNames

_names = LazyNames(__name__, __file__)
__all__ = _names.names  # noqa: PLE0605


def __getattr__(name: str) -> object:
    return _names.load(name)


def __dir__() -> list[str]:
    return _names.names
