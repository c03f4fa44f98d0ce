"""Pooled LLM encoders as verified ONNX graphs, and their vectors in Qdrant.

The names that most programs need, each imported when it is first used, and the sub-packages that
hold all the others. ``decant.export`` is the sub-package: a module and a function of one name would
hide each other, so the function is ``decant.export.export``.

>>> import decant
>>> decant.HashEncoder(dim=4).encode(["a", "b"], role=decant.Role.QUERY).dense.shape
(2, 4)
"""

from __future__ import annotations

from .embedders.lazy_names import LazyNames

_names = LazyNames(__name__, __file__)
__all__ = sorted([*_names.names, "__version__"])  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name == "__version__":
        from .embedders.distribution import decant_version

        return decant_version()
    return _names.load(name)


def __dir__() -> list[str]:
    return __all__
