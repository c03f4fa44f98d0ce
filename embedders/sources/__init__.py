"""Find a model's files, and read from them how its vectors are made."""

from __future__ import annotations

from ..lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
