"""Training: contrastive tuning and the methods of LLM embeddings, on one's own texts.

Everything public is here by name and imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .appended_base import AppendedBase as AppendedBase
    from .autoregembed import Compression as Compression
    from .autoregembed import CompressionSettings as CompressionSettings
    from .autoregembed import frozen_decoder as frozen_decoder
    from .autoregembed import open_compression as open_compression
    from .base import Base as Base
    from .base import Batch as Batch
    from .base import open_base as open_base
    from .contrastive import Contrastive as Contrastive
    from .contrastive import ContrastiveSettings as ContrastiveSettings
    from .contrastive import Loss as Loss
    from .data_report import DataReport as DataReport
    from .data_report import describe as describe
    from .distillation import Distillation as Distillation
    from .distillation import DistillationSettings as DistillationSettings
    from .distillation import Lesson as Lesson
    from .distribution_alignment import AlignmentSettings as AlignmentSettings
    from .distribution_alignment import DistributionAlignment as DistributionAlignment
    from .distribution_alignment import Margin as Margin
    from .errors import DataError as DataError
    from .errors import TrainingError as TrainingError
    from .generating import Answer as Answer
    from .generating import Generated as Generated
    from .generating import Generating as Generating
    from .generating import Written as Written
    from .generating import generate as generate
    from .graded import Graded as Graded
    from .graded import GradedSettings as GradedSettings
    from .language import LanguageBase as LanguageBase
    from .language import open_language_model as open_language_model
    from .llm2vec_gen import Gen as Gen
    from .llm2vec_gen import GenSettings as GenSettings
    from .llm2vec_gen import open_gen as open_gen
    from .loop import Report as Report
    from .loop import check_run as check_run
    from .loop import finish_run as finish_run
    from .loop import train as train
    from .mining import Mined as Mined
    from .mining import Mining as Mining
    from .mining import Ranking as Ranking
    from .mining import Searcher as Searcher
    from .mining import mine as mine
    from .mntp import Mntp as Mntp
    from .mntp import MntpSettings as MntpSettings
    from .objective import Inputs as Inputs
    from .objective import Objective as Objective
    from .row import Columns as Columns
    from .row import Field as Field
    from .row import Row as Row
    from .runner import Look as Look
    from .settings import Loop as Loop
    from .settings import Lora as Lora
    from .settings import Mixed as Mixed
    from .settings import Plan as Plan
    from .settings import Schedule as Schedule
    from .settings import read_plan as read_plan
    from .simcse import SimCSE as SimCSE
    from .sparse import SparseContrastive as SparseContrastive
    from .sparse import SparseSettings as SparseSettings
    from .speaking import Speaker as Speaker
    from .splitting import Split as Split
    from .splitting import split as split
    from .table import Table as Table
    from .table import read_table as read_table
    from .unlabelled import Made as Made
    from .unlabelled import Making as Making
    from .unlabelled import write_pairs as write_pairs

_HOME = {
    "AlignmentSettings": "distribution_alignment",
    "AppendedBase": "appended_base",
    "Compression": "autoregembed",
    "CompressionSettings": "autoregembed",
    "DistributionAlignment": "distribution_alignment",
    "Gen": "llm2vec_gen",
    "GenSettings": "llm2vec_gen",
    "Margin": "distribution_alignment",
    "frozen_decoder": "autoregembed",
    "open_compression": "autoregembed",
    "open_gen": "llm2vec_gen",
    "Answer": "generating",
    "Base": "base",
    "Batch": "base",
    "Columns": "row",
    "Contrastive": "contrastive",
    "ContrastiveSettings": "contrastive",
    "DataError": "errors",
    "DataReport": "data_report",
    "Distillation": "distillation",
    "DistillationSettings": "distillation",
    "Field": "row",
    "Generated": "generating",
    "Generating": "generating",
    "Graded": "graded",
    "GradedSettings": "graded",
    "Inputs": "objective",
    "LanguageBase": "language",
    "Lesson": "distillation",
    "Look": "runner",
    "Loop": "settings",
    "Lora": "settings",
    "Loss": "contrastive",
    "Made": "unlabelled",
    "Making": "unlabelled",
    "Mined": "mining",
    "Mining": "mining",
    "Mixed": "settings",
    "Mntp": "mntp",
    "MntpSettings": "mntp",
    "Objective": "objective",
    "Plan": "settings",
    "Ranking": "mining",
    "Report": "loop",
    "Row": "row",
    "Schedule": "settings",
    "Searcher": "mining",
    "SimCSE": "simcse",
    "Speaker": "speaking",
    "SparseContrastive": "sparse",
    "SparseSettings": "sparse",
    "Split": "splitting",
    "Table": "table",
    "TrainingError": "errors",
    "Written": "generating",
    "check_run": "loop",
    "describe": "data_report",
    "finish_run": "loop",
    "generate": "generating",
    "mine": "mining",
    "open_base": "base",
    "open_language_model": "language",
    "read_plan": "settings",
    "read_table": "table",
    "split": "splitting",
    "train": "loop",
    "write_pairs": "unlabelled",
}
_LIGHT = {
    "data_report", "errors", "generating", "mining", "row", "settings", "splitting", "table",
    "unlabelled",
}  # fmt: skip

__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if _HOME[name] not in _LIGHT:
        from decant.embedders import need

        for module in ("torch", "transformers", "accelerate", "matplotlib"):
            need(module, extra="training")
    value: object = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
