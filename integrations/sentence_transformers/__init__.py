"""sentence-transformers over a bundle: ``SentenceTransformer("bundle", trust_remote_code=True)``.

``BundleModule`` is the one module of such a model. It is imported when it is first used, because
sentence-transformers and torch come with it.
"""

from __future__ import annotations

from decant.embedders.errors import need
from decant.embedders.lazy_names import lazy_names


def _check(_module: str) -> None:
    need("sentence_transformers", extra="sentence-transformers")


__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, check=_check)
