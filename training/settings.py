"""Settings of a training run, whatever the method: steps, learning rate, LoRA; and their TOML file.

Invariant: settings that can be built are valid in themselves. Whether they suit the data and the
model is checked before the first step.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar

from decant.embedders.json_records import overlaid, stored_as

from .errors import TrainingError

Settings = TypeVar("Settings")


class Schedule(StrEnum):
    """How the learning rate falls after the warm-up, under the names of Transformers."""

    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant_with_warmup"


class MixedPrecision(StrEnum):
    """The precision of matrix products; weights and losses stay float32."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """Settings of the training loop, the same for every objective.

    Args:
        batch_size: Rows in one step on one device.
        gradient_accumulation_steps: Steps whose gradients are summed before the weights change.
            In-batch negatives come from one step; for more of them, make the step itself larger
            with gradient caching (``mini_batch_size`` of the objective's settings).
        epochs: How often every row is used.
        max_steps: Stop after this many steps; None: after ``epochs``.
        learning_rate: The highest learning rate, reached after the warm-up.
        warmup: Share of all steps in which the learning rate rises.
        schedule: How the learning rate falls after the warm-up.
        weight_decay: Weight decay of AdamW; it applies to matrices only.
        max_grad_norm: Gradients are clipped to this norm; 0 does not clip.
        precision: Precision of matrix products.
        gradient_checkpointing: Drop the activations of layers and compute them again in the
            backward pass, which takes less memory and a third more time.
        log_every: Steps between two lines of the log.
        save_every: Steps between two checkpoints; None writes no checkpoints.
        score_every: Steps between two evaluations during training; None: only before and after.
        seed: Seed of the order of rows, of dropout and of new weights.
    """

    batch_size: int = 32
    gradient_accumulation_steps: int = field(default=1, metadata=stored_as("accumulate"))
    epochs: int = 1
    max_steps: int | None = None
    learning_rate: float = 2e-5
    warmup: float = 0.1
    schedule: Schedule = Schedule.LINEAR
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: MixedPrecision = MixedPrecision.FP32
    gradient_checkpointing: bool = field(default=False, metadata=stored_as("recompute"))
    log_every: int = 10
    save_every: int | None = 500
    score_every: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "batch_size", "gradient_accumulation_steps", "epochs", "max_steps", "log_every",
            "save_every", "score_every",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise TrainingError(f"{name} must be at least 1, got {value}")
        if not 0 <= self.warmup < 1:
            raise TrainingError(
                f"warmup is a share of the steps, 0 <= warmup < 1, got {self.warmup}"
            )
        if self.learning_rate <= 0:
            raise TrainingError(f"learning_rate must be positive, got {self.learning_rate}")
        if self.weight_decay < 0 or self.max_grad_norm < 0:
            raise TrainingError("weight_decay and max_grad_norm must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Train low-rank adapters of the linear layers and nothing else (LoRA, arXiv 2106.09685).

    Args:
        rank: Rank of the adapters.
        alpha: Adapter outputs are multiplied by ``alpha / rank``.
        dropout: Dropout on the adapters' inputs.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha < 1:
            raise TrainingError(f"rank and alpha must be at least 1, got {self}")
        if not 0 <= self.dropout < 1:
            raise TrainingError(f"dropout must be at least 0 and below 1, got {self.dropout}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Generic[Settings]):
    """All settings of a run: the tables ``objective``, ``loop`` and ``lora`` of a TOML file."""

    objective: Settings
    loop: TrainingSettings
    lora: Lora | None = None


def read_plan(path: Path, start: Plan[Settings]) -> Plan[Settings]:
    """Return ``start`` with the settings that a TOML file specifies.

    Args:
        path: A file with the tables ``objective``, ``loop`` and ``lora``, all optional.
        start: Settings for everything that the file leaves out.

    Raises:
        TrainingError: The file is missing or not TOML, or a key or value is invalid.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TrainingError(f"{path} is not TOML: {error}") from error
    if unknown := sorted(set(given) - {"objective", "loop", "lora"}):
        raise TrainingError(
            f"{path}: unknown table [{unknown[0]}]; known are objective, loop, lora"
        )

    return Plan(
        objective=_overlaid(start.objective, given, path, "objective"),
        loop=_overlaid(start.loop, given, path, "loop"),
        lora=_overlaid(start.lora or Lora(), given, path, "lora")
        if "lora" in given
        else start.lora,
    )


def _overlaid(held: Settings, given: Mapping[str, object], path: Path, table: str) -> Settings:
    where = f"{path.name}: {table}"
    return overlaid(held, given.get(table, {}), where=where, error=TrainingError)
