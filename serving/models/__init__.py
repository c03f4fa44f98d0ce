"""The models that a server has: by which names they are found, and how texts become vectors."""

from __future__ import annotations

from decant.embedders.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
