"""Encoders and rerankers of another machine: what both sides write, and the clients.

``decant serve`` takes the first half from here, so that server and client cannot disagree.
"""

from __future__ import annotations

from ..lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
