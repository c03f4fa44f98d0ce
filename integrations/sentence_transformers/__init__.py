"""sentence-transformers over a bundle: ``SentenceTransformer("bundle", trust_remote_code=True)``.

``BundleModule`` is the one module of such a model. It is imported when it is first used, because
sentence-transformers and torch come with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .module import BundleModule as BundleModule

_HOME = {"BundleModule": "module"}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from decant.embedders import need

    need("sentence_transformers", extra="sentence-transformers")
    value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
