"""Training: contrastive tuning and the methods of LLM embeddings, on one's own texts.

Everything public is here by name and imported when it is first used.
"""

from __future__ import annotations

from decant.embedders.errors import need
from decant.embedders.lazy_names import lazy_names

# What reads and writes data needs no extra.
_LIGHT = ("data.", "errors", "settings")


def _check(module: str) -> None:
    if not module.startswith(_LIGHT) or module == "data.text_generator":
        for package in ("torch", "transformers", "accelerate", "matplotlib"):
            need(package, extra="training")


__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, check=_check)
