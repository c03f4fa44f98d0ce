"""sentence-transformers over a bundle: ``SentenceTransformer("bundle", trust_remote_code=True)``.

``BundleModule`` is the one module of such a model. It is imported when it is first used, because
sentence-transformers and torch come with it.
"""

from __future__ import annotations

from decant.embedders.errors import need
from decant.embedders.lazy_names import LazyNames


def _check(_module: str) -> None:
    need("sentence_transformers", extra="sentence-transformers")


_names = LazyNames(__name__, __file__, check=_check)
__all__ = _names.names  # noqa: PLE0605


def __getattr__(name: str) -> object:
    return _names.load(name)


def __dir__() -> list[str]:
    return _names.names
