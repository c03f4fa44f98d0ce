"""Pooled LLM encoders as verified ONNX graphs, and their vectors in Qdrant.

The names that most programs need, each imported when it is first used, and the sub-packages that
hold all the others. ``decant.export`` is the sub-package: a module and a function of one name would
hide each other, so the function is ``decant.export.export``.

>>> import decant
>>> decant.HashEncoder(dim=4).encode(["a", "b"], role=decant.Role.QUERY).dense.shape
(2, 4)
"""

from __future__ import annotations

from .embedders.distribution import decant_version
from .embedders.lazy_names import lazy_names

_load, _dir, _names = lazy_names(__name__, __file__)
__all__ = sorted([*_names, "__version__"])  # noqa: PLE0605


def __getattr__(name: str) -> object:
    return decant_version() if name == "__version__" else _load(name)


def __dir__() -> list[str]:
    return __all__
