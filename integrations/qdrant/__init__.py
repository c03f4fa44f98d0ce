"""Collections of texts in Qdrant, in this process or on a server, each tied to one recipe.

Everything public is here by name; each name is imported when it is first used.
"""

from __future__ import annotations

from decant.embedders.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
