"""The model in PyTorch: the reference for graphs, and the model that is trained."""

from __future__ import annotations

from ..errors import need
from ..lazy_names import lazy_names


def _check(_module: str) -> None:
    need("torch", extra="export")
    need("transformers", extra="export")


__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, check=_check)
