"""The folder that an exported model is: its files, their hashes and its certificate."""

from __future__ import annotations

from ..lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
