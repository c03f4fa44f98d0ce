"""Evaluate vectors: encoders, wrapped models and word vectors on the same tasks.

Every task scores an :class:`Embedder` and gives numbers with intervals and coverage;
:func:`compare` tests two encoders over the same cases. Names are imported when first used.
"""

from __future__ import annotations

from decant.embedders.errors import need
from decant.embedders.lazy_names import lazy_names

_LIGHT = {
    "errors",
    "models.mteb",
    "models.protocol",
    "models.st_model",
    "models.word_vectors",
    "scores.units",
    "tasks.analogy_files",
    "tasks.beir_files",
    "tasks.variations",
}
_MORE_PACKAGES = {
    "report.html": ("matplotlib",),
    "tasks.analogies": ("sklearn",),
    "tasks.analogy_solvers": ("sklearn",),
    "tasks.late_chunking": ("ir_measures",),
    "tasks.pair_classification": ("sklearn",),
    "tasks.retrieval": ("ir_measures",),
}


def _check(module: str) -> None:
    for package in () if module in _LIGHT else ("scipy", *_MORE_PACKAGES.get(module, ())):
        need(package, extra="evaluation")


__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, check=_check)
