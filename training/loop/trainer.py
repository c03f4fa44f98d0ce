"""Transformers' Trainer as decant uses it: what is saved, what is logged, when it stops.

Invariant: a run resumed from a checkpoint takes the same steps as an uninterrupted one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from ..data.row import TrainingExample
from ..data.table import TrainingDataset
from ..errors import TrainingError
from ..models.gradient_checkpointing import enable_gradient_checkpointing
from ..objectives.objective import Inputs, Objective
from ..settings import MixedPrecision, TrainingSettings
from .batch_sampler import TaskOrder

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState

    from decant.embedders import TorchEncoder

Scorer = Callable[["TorchEncoder"], Mapping[str, float]]
"""Measures an encoder: named values, higher is better."""
TrainingProgress = Callable[[int, int, Mapping[str, float]], None]
"""Called with every line of the log: steps done, steps in all, and its values."""

LOG = "log.jsonl"
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCallbacks:
    """What a run calls while it trains.

    Args:
        scorer: Called every ``score_every`` steps on the model as it is then.
        progress: Called with every line of the log.
    """

    scorer: Scorer | None = None
    progress: TrainingProgress | None = None


class _Rows(Dataset[TrainingExample]):
    """A table as a dataset of torch."""

    def __init__(self, table: TrainingDataset) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: int) -> TrainingExample:
        return self._table[index]


class Runner(Trainer):
    """The Trainer with our order of rows, checkpoints and log."""

    def __init__(
        self,
        objective: Objective,
        table: TrainingDataset,
        order: TaskOrder,
        loop: TrainingSettings,
        callbacks: TrainingCallbacks,
        folder: Path,
    ) -> None:
        set_seed(loop.seed)
        self._order = order
        self._parts: dict[str, list[Tensor]] = {}
        super().__init__(
            model=objective,
            args=_arguments(loop, folder / "checkpoints"),
            data_collator=lambda rows: {"batch": objective.collate(rows)},
            train_dataset=_Rows(table),
            callbacks=[_Log(objective, loop, callbacks, folder)],
        )
        self.remove_callback(PrinterCallback)
        # Losses are means over a batch; versions of Transformers have two names for that.
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = False
        if loop.gradient_checkpointing:
            enable_gradient_checkpointing(objective)

    def _get_train_sampler(self, train_dataset: object = None) -> TaskOrder:
        del train_dataset
        return self._order

    def compute_loss(  # type: ignore[override]  # tensors may be nested; the Trainer moves them so
        self,
        model: nn.Module,
        inputs: dict[str, Inputs],
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - the Trainer's signature
        num_items_in_batch: object = None,
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Return the objective's loss, and keep its parts for the log."""
        del num_items_in_batch
        found = cast("dict[str, Tensor]", model(**inputs))
        for name, value in found.items():
            if name != "loss":
                self._parts.setdefault(name, []).append(value.detach())
        return (found["loss"], found) if return_outputs else found["loss"]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the values, with the mean of each part of the loss since the last line."""
        if "loss" in logs:
            means = {name: float(torch.stack(held).mean()) for name, held in self._parts.items()}
            self._parts = {}
            logs = {**logs, **means}
        super().log(logs, start_time)

    def _save(self, output_dir: str | None = None, state_dict: object = None) -> None:
        del state_dict
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file(_trained(cast("nn.Module", self.model)), folder / _WEIGHTS)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        held = _trained(model or cast("nn.Module", self.model))
        stored = load_file(Path(resume_from_checkpoint) / _WEIGHTS)
        if {name: value.shape for name, value in held.items()} != {
            name: value.shape for name, value in stored.items()
        }:
            raise TrainingError(
                f"{resume_from_checkpoint} holds a run of another model or method; delete the "
                "folder to start again"
            )
        with torch.no_grad():
            for name, value in held.items():
                value.copy_(stored[name])

    @property
    def last_loss(self) -> float:
        """Mean loss of the last line of the log; NaN before the first."""
        history = [line["loss"] for line in self.state.log_history if "loss" in line]
        return float(history[-1]) if history else math.nan


def _trained(model: nn.Module) -> dict[str, Tensor]:
    """Return the trainable parameters, each once, even if it has several names."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def _arguments(loop: TrainingSettings, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=loop.batch_size,
        gradient_accumulation_steps=loop.gradient_accumulation_steps,
        num_train_epochs=loop.epochs,
        max_steps=loop.max_steps or -1,
        learning_rate=loop.learning_rate,
        warmup_steps=loop.warmup,
        lr_scheduler_type=loop.schedule.value,
        weight_decay=loop.weight_decay,
        max_grad_norm=loop.max_grad_norm,
        bf16=loop.precision is MixedPrecision.BF16,
        fp16=loop.precision is MixedPrecision.FP16,
        logging_strategy="steps",
        logging_steps=loop.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="no" if loop.save_every is None else "steps",
        save_steps=loop.save_every or 1,
        save_total_limit=2,
        seed=loop.seed,
        data_seed=loop.seed,
        dataloader_drop_last=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        label_names=[],
        # Set explicitly, or several processes on CPUs would each train alone.
        use_cpu=not torch.accelerator.is_available(),
        report_to="none",
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
    )


class _Log(TrainerCallback):
    """A callback that writes the log, calls the scorer, and stops at a loss of NaN or infinity."""

    def __init__(
        self,
        objective: Objective,
        loop: TrainingSettings,
        callbacks: TrainingCallbacks,
        folder: Path,
    ) -> None:
        self._objective, self._loop, self._callbacks = objective, loop, callbacks
        self._file = folder / LOG

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Delete the lines of the log after the checkpoint from which the run resumes."""
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        kept = [line for line in lines if _step(line) <= state.global_step]
        if state.is_world_process_zero:
            self._file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        """Write one line of the log."""
        if logs is None or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise TrainingError(
                f"the loss is {logs['loss']} at step {state.global_step}; lower learning_rate, "
                "raise temperature, or train in bf16 or fp32 instead of fp16"
            )
        self._write(state, logs)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Score the model every ``score_every`` steps."""
        every, scorer = self._loop.score_every, self._callbacks.scorer
        if scorer is None or every is None or state.global_step % every:
            return
        if state.is_world_process_zero:
            with self._objective.eval_encoder() as encoder:
                self._write(state, scorer(encoder))

    def _write(self, state: TrainerState, values: Mapping[str, float]) -> None:
        if not state.is_world_process_zero:
            return
        line = {"step": state.global_step, **values}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._callbacks.progress is not None:
            self._callbacks.progress(state.global_step, state.max_steps, values)


def _step(line: str) -> float:
    """Return the step of a line of the log; infinity if its writing was cut short."""
    try:
        step: int = json.loads(line)["step"]
    except json.JSONDecodeError:
        return math.inf
    return step
