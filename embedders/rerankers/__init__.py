"""What a reranker is and gives, whatever runs it."""

from __future__ import annotations

from ..lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
