"""What clients send and want back: Qdrant's inference, OpenAI, TEI, remote encoders.

Each module turns JSON into typed requests for texts, and vectors into the answer. None knows HTTP.
"""

from __future__ import annotations

from decant.embedders.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
