"""Join the texts of many clients into passes of a model: a queue, and the worker that empties it.

Nothing here knows HTTP. Invariant: every text that was accepted gets its own vectors, or an error.
"""

from __future__ import annotations

from decant.embedders.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
