"""What a vector is and how to compute one.

Everything public is here by name; each name is imported when it is first used, so that importing
this package costs next to nothing and loads no heavy library.
"""

from __future__ import annotations

from .errors import need
from .lazy_names import lazy_names


def _check(module: str) -> None:
    if module.startswith("pytorch.") or module == "rerankers.torch_reranker":
        need("torch", extra="export")
        need("transformers", extra="export")


__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, check=_check)
