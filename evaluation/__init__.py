"""How good vectors are: encoders, wrapped models and word vectors on the same tasks.

Every task scores anything that encodes (:class:`Embedder`) and gives numbers with intervals and
coverage; :func:`compare` tests two encoders over the same cases. Names are imported when they are
first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agreement import Agreement as Agreement
    from .agreement import model_agreement as model_agreement
    from .analogies import Analogies as Analogies
    from .analogies import Unknown as Unknown
    from .analogy_files import Category as Category
    from .analogy_files import WordPair as WordPair
    from .analogy_files import all_questions as all_questions
    from .analogy_files import read_bats as read_bats
    from .analogy_files import read_google_analogies as read_google_analogies
    from .analogy_solvers import Solver as Solver
    from .anchor_words import Anchor as Anchor
    from .anchors import Anchors as Anchors
    from .anchors import read_anchors as read_anchors
    from .beir import RetrievalSet as RetrievalSet
    from .beir import read_beir as read_beir
    from .classical import WordFormat as WordFormat
    from .classical import WordVectors as WordVectors
    from .classical import read_word_vectors as read_word_vectors
    from .classical import word_format as word_format
    from .distributions import Separation as Separation
    from .distributions import Spread as Spread
    from .distributions import all_pairs as all_pairs
    from .embedder import Embedder as Embedder
    from .embedder import PartialEmbedder as PartialEmbedder
    from .errors import EvaluationError as EvaluationError
    from .geometry import Geometry as Geometry
    from .geometry import effective_rank as effective_rank
    from .html_report import html_page as html_page
    from .html_report import write_html as write_html
    from .late_chunking import Chunkings as Chunkings
    from .late_chunking import LateChunking as LateChunking
    from .late_chunking import consecutive as consecutive
    from .mteb_adapter import MtebEncoder as MtebEncoder
    from .mteb_adapter import Unembeddable as Unembeddable
    from .pairs import LabelledPairs as LabelledPairs
    from .pairs import PairClassification as PairClassification
    from .pairs import best_accuracy as best_accuracy
    from .pairs import best_f1 as best_f1
    from .pairs import read_labelled_pairs as read_labelled_pairs
    from .retrieval import Retrieval as Retrieval
    from .retrieval import Searcher as Searcher
    from .running import Standing as Standing
    from .running import SystemResult as SystemResult
    from .running import Versus as Versus
    from .running import score_system as score_system
    from .running import shared_agreement as shared_agreement
    from .running import side_by_side as side_by_side
    from .scores import Comparison as Comparison
    from .scores import Measurement as Measurement
    from .scores import Score as Score
    from .scores import Task as Task
    from .scores import compare as compare
    from .similarity import read_word_pairs as read_word_pairs
    from .similarity import word_similarity_task as word_similarity_task
    from .statistics import Bootstrap as Bootstrap
    from .sts import ScoredPairs as ScoredPairs
    from .sts import Sts as Sts
    from .sts import read_sts as read_sts
    from .sts import sts_task as sts_task
    from .units import Unit as Unit
    from .variations import Variation as Variation
    from .variations import made_variations as made_variations
    from .wrapped import WrappedModel as WrappedModel

_HOME = {
    "Agreement": "agreement",
    "Analogies": "analogies",
    "Anchor": "anchor_words",
    "Anchors": "anchors",
    "Bootstrap": "statistics",
    "Category": "analogy_files",
    "Chunkings": "late_chunking",
    "Comparison": "scores",
    "Embedder": "embedder",
    "EvaluationError": "errors",
    "Geometry": "geometry",
    "LabelledPairs": "pairs",
    "LateChunking": "late_chunking",
    "Measurement": "scores",
    "MtebEncoder": "mteb_adapter",
    "PairClassification": "pairs",
    "PartialEmbedder": "embedder",
    "Retrieval": "retrieval",
    "RetrievalSet": "beir",
    "Score": "scores",
    "ScoredPairs": "sts",
    "Searcher": "retrieval",
    "Separation": "distributions",
    "Solver": "analogy_solvers",
    "Spread": "distributions",
    "Standing": "running",
    "Sts": "sts",
    "SystemResult": "running",
    "Task": "scores",
    "Unembeddable": "mteb_adapter",
    "Unit": "units",
    "Unknown": "analogies",
    "Variation": "variations",
    "Versus": "running",
    "WordFormat": "classical",
    "WordPair": "analogy_files",
    "WordVectors": "classical",
    "WrappedModel": "wrapped",
    "all_pairs": "distributions",
    "all_questions": "analogy_files",
    "best_accuracy": "pairs",
    "best_f1": "pairs",
    "compare": "scores",
    "consecutive": "late_chunking",
    "effective_rank": "geometry",
    "html_page": "html_report",
    "made_variations": "variations",
    "model_agreement": "agreement",
    "read_anchors": "anchors",
    "read_bats": "analogy_files",
    "read_beir": "beir",
    "read_google_analogies": "analogy_files",
    "read_labelled_pairs": "pairs",
    "read_sts": "sts",
    "read_word_pairs": "similarity",
    "read_word_vectors": "classical",
    "score_system": "running",
    "shared_agreement": "running",
    "side_by_side": "running",
    "sts_task": "sts",
    "word_format": "classical",
    "word_similarity_task": "similarity",
    "write_html": "html_report",
}
_LIGHT = {
    "analogy_files",
    "beir",
    "classical",
    "embedder",
    "errors",
    "mteb_adapter",
    "units",
    "variations",
    "wrapped",
}
_MORE_PACKAGES = {
    "analogies": ("sklearn",),
    "analogy_solvers": ("sklearn",),
    "html_report": ("matplotlib",),
    "late_chunking": ("ir_measures",),
    "pairs": ("sklearn",),
    "retrieval": ("ir_measures",),
}

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from decant.embedders import need

    home = _HOME[name]
    for package in () if home in _LIGHT else ("scipy", *_MORE_PACKAGES.get(home, ())):
        need(package, extra="evaluation")
    value: object = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
