"""How a run goes, whatever it trains: steps, rates, adapters; and settings in TOML.

Invariant: settings that could be built make sense by themselves; whether they suit data and model
is said before the first step.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar

from decant.embedders.json_records import overlaid

from .errors import TrainingError

Settings = TypeVar("Settings")


class Schedule(StrEnum):
    """How the learning rate falls after its warm-up; names of Transformers' schedulers."""

    LINEAR = "linear"
    COSINE = "cosine"
    CONSTANT = "constant_with_warmup"


class MixedPrecision(StrEnum):
    """In what precision products are computed; weights and losses stay float32."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """The loop around any objective.

    Args:
        batch_size: Rows of one step on one device.
        accumulate: Steps whose gradients are added before the weights change. In-batch negatives
            are those of one step; gradient caching (``chunk``) makes the step itself larger.
        epochs: How often every row is seen.
        max_steps: Ends the run earlier; None: ``epochs`` decides.
        learning_rate: The highest.
        warmup: Share of all steps in which the rate rises.
        schedule: How it falls after that.
        weight_decay: Of AdamW, for matrices alone.
        max_grad_norm: Gradients are shortened to this norm; 0 leaves them.
        precision: Of products.
        recompute: Whether layers forget their states and compute them anew in the backward pass
            (gradient checkpointing): less memory, a third more time.
        log_every: Steps between two lines of the log.
        save_every: Steps between two checkpoints; None: none but the model at the end.
        score_every: Steps between two looks at the held-out part; None: before and after alone.
        seed: Of order, dropout and new weights.
    """

    batch_size: int = 32
    accumulate: int = 1
    epochs: int = 1
    max_steps: int | None = None
    learning_rate: float = 2e-5
    warmup: float = 0.1
    schedule: Schedule = Schedule.LINEAR
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: MixedPrecision = MixedPrecision.FP32
    recompute: bool = False
    log_every: int = 10
    save_every: int | None = 500
    score_every: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "batch_size", "accumulate", "epochs", "max_steps", "log_every", "save_every",
            "score_every",
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
    """Train low-rank additions to the linear layers and nothing else (Hu et al., 2106.09685).

    Args:
        rank: Of the additions.
        alpha: They enter times ``alpha / rank``.
        dropout: On what goes into them.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha < 1:
            raise TrainingError(f"rank and alpha must be at least 1, got {self}")
        if not 0 <= self.dropout < 1:
            raise TrainingError(f"dropout lies between 0 and 1, got {self.dropout}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Generic[Settings]):
    """A run as a TOML file states it: ``[objective]``, ``[loop]`` and, for adapters, ``[lora]``."""

    objective: Settings
    loop: TrainingSettings
    lora: Lora | None = None


def read_plan(path: Path, start: Plan[Settings]) -> Plan[Settings]:
    """Return ``start`` with what a TOML file says in place of its own.

    Args:
        path: A file with the tables ``objective``, ``loop`` and ``lora``, all optional.
        start: What holds where the file is silent.

    Raises:
        TrainingError: The file is not there or not TOML, or a key or value is not known.
    """
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TrainingError(f"{path} is not TOML: {error}") from error
    if unknown := sorted(set(said) - {"objective", "loop", "lora"}):
        raise TrainingError(
            f"{path}: unknown table [{unknown[0]}]; known are objective, loop, lora"
        )

    return Plan(
        objective=_overlaid(start.objective, said, path, "objective"),
        loop=_overlaid(start.loop, said, path, "loop"),
        lora=_overlaid(start.lora or Lora(), said, path, "lora") if "lora" in said else start.lora,
    )


def _overlaid(held: Settings, said: Mapping[str, object], path: Path, table: str) -> Settings:
    where = f"{path.name}: {table}"
    return overlaid(held, said.get(table, {}), where=where, error=TrainingError)
