"""Run a training: Transformers' Trainer around an objective, its log, and the trained model.

This adds to the Trainer that checkpoints hold only trained weights, that the log has the parts of
the loss, and that a loss of NaN or infinity ends the run. During the run, all files are in a folder
next to the target; the target appears whole or not at all. Invariant: the same data, settings and
seed give the same weights on the same machine, whether the run was interrupted or not.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from decant.embedders import Recipe
from decant.embedders.files import write_atomically
from decant.embedders.json_records import to_json
from decant.embedders.onnx import peak_memory_mb

from ..data.table import TrainingDataset
from ..errors import DataError, TrainingError
from ..objectives.objective import Objective
from ..settings import Lora, TrainingSettings
from .batch_sampler import TaskOrder
from .curves import draw_curves
from .trainer import LOG, Runner, TrainingCallbacks

CURVES = "curves.svg"
_ABOUT = "training"
_RUN = "run.json"
_REPORT = "report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of a run.

    Args:
        folder: The folder of the trained model.
        steps: Number of steps, including those before an interruption.
        loss: Mean loss in the last line of the log.
        trained: Number of parameters that were trained.
        frozen: Number of parameters that were not trained.
        peak_mb: Peak memory of the GPU, or of the process if there is none, in MiB; None: unknown.
    """

    folder: Path
    steps: int
    loss: float
    trained: int
    frozen: int
    peak_mb: int | None


def train(
    objective: Objective,
    table: TrainingDataset,
    target: Path,
    loop: TrainingSettings,
    *,
    callbacks: TrainingCallbacks | None = None,
) -> Report:
    """Train, and write the model to ``target``.

    A run that was interrupted is resumed from its last checkpoint when it is started again with the
    same data and settings.

    Args:
        objective: The method with its model.
        table: The rows to learn from.
        target: The folder to write, which must not exist; ``<target>.partial`` holds the run until
            it is done.
        loop: Settings of the loop.
        callbacks: What is called with each line of the log, and what scores in between.

    Raises:
        DataError: The rows are too few for a batch, or the objective cannot learn from them.
        TrainingError: ``target`` exists, an interrupted run had other settings, or the loss is NaN
            or infinity.
    """
    check_run(objective, table, target, loop)
    order = TaskOrder(table, batch_size=loop.batch_size, seed=loop.seed)
    partial = _partial(target)
    begun = partial / "checkpoints"
    begun.mkdir(parents=True, exist_ok=True)
    runner = Runner(objective, table, order, loop, callbacks or TrainingCallbacks(), partial)
    # Only the first of several processes writes; the others wait and read its files.
    with runner.args.main_process_first(local=False):
        _same_run(partial / _RUN, objective, table, loop)
        objective.prepare(table, partial, batch_size=loop.batch_size)
        last = _last_checkpoint(begun)
    runner.train(resume_from_checkpoint=last)
    report = _report(runner, objective, target)
    with runner.args.main_process_first(local=False):
        if runner.is_world_process_zero():
            _write_target(objective, partial, target, report)
    return report


def _write_target(objective: Objective, partial: Path, target: Path, report: Report) -> None:
    """Write the model, and the log and the report of its run, to the target."""
    made = partial / "model"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    objective.to("cpu").eval()
    objective.write(made)
    records = made / _ABOUT
    records.mkdir()
    for name in (LOG, _RUN):
        shutil.copyfile(partial / name, records / name)
    draw_curves(partial / LOG, records / CURVES)
    numbers = {name: value for name, value in asdict(report).items() if name != "folder"}
    (records / _REPORT).write_text(to_json(numbers), encoding="utf-8")
    made.rename(target)
    shutil.rmtree(partial)


def finish_run(
    objective: Objective, table: TrainingDataset, target: Path, loop: TrainingSettings
) -> Report | None:
    """Return the report of a run that is already complete, so that it need not be repeated.

    The arguments are those of :func:`train`. Files of the run that an interruption left next to
    its model are deleted.

    Returns:
        None if ``target`` does not exist, or is not the result of this run.
    """
    records = target / _ABOUT
    try:
        held = json.loads((records / _RUN).read_text(encoding="utf-8"))
        numbers = json.loads((records / _REPORT).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    wanted = _run_identity(objective, table, loop)
    if any(held.get(name) != value for name, value in wanted.items()):
        return None
    shutil.rmtree(_partial(target), ignore_errors=True)
    return Report(folder=target, **numbers)


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial")


def check_run(
    objective: Objective, table: TrainingDataset, target: Path, loop: TrainingSettings
) -> None:
    """Raise the errors of :func:`train` about target and data, without training.

    Raises:
        DataError: The rows are too few for a batch, or the objective cannot learn from them.
        TrainingError: ``target`` exists.
    """
    if target.exists():
        raise TrainingError(f"{target} exists; choose another name or delete it")
    if len(TaskOrder(table, batch_size=loop.batch_size, seed=loop.seed)) == 0:
        tasks = f" in {len(table.task_names)} tasks" if len(table.task_names) > 1 else ""
        raise DataError(
            f"{', '.join(map(str, table.paths))}: {len(table)} rows{tasks} do not fill one batch "
            f"of {loop.batch_size}; give more rows or a smaller batch_size"
        )
    if table.instructed.any() and not objective.takes_instructions():
        first = table[int(table.instructed.argmax())]
        raise DataError(
            f"{first.place}: there is an instruction, which this method does not use with "
            f"{objective.base.source.base}; leave the column out, or write it into the queries"
        )
    if table.answered.any() and not objective.takes_negative_answers():
        first = table[int(table.answered.argmax())]
        raise DataError(
            f"{first.place}: negatives have answers, which this method does not use; leave the "
            "column out, or name it among the negatives (columns 'query=…,negatives=…')"
        )
    objective.check(table)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """Everything that identifies a run: a run is resumed only if all of it is equal."""

    method: str
    recipe: Recipe
    settings: object
    lora: Lora | None
    dropout: float | None
    max_tokens: int | None
    loop: TrainingSettings
    rows: int
    data: str


def _run_identity(
    objective: Objective, table: TrainingDataset, loop: TrainingSettings
) -> dict[str, object]:
    """Return the identity of a run as JSON values."""
    run = _Run(
        method=type(objective).__name__,
        recipe=objective.base.model.recipe,
        settings=objective.settings,
        lora=objective.base.lora,
        dropout=objective.base.dropout,
        max_tokens=objective.base.max_tokens,
        loop=loop,
        rows=len(table),
        data=table.digest(),
    )
    return {**json.loads(to_json(run)), **objective.run_identity()}


def _same_run(
    path: Path, objective: Objective, table: TrainingDataset, loop: TrainingSettings
) -> None:
    """Write the identity of a run, or check that the run begun here has the same one."""
    wanted = _run_identity(objective, table, loop)
    if not path.exists():
        write_atomically(path, to_json(wanted))
        return
    held = json.loads(path.read_text(encoding="utf-8"))
    if other := [name for name in wanted if held.get(name) != wanted[name]]:
        raise TrainingError(
            f"{path.parent} holds a run that was begun with other {', '.join(other)}; delete the "
            "folder to start again, or use the same settings to resume it"
        )


def _last_checkpoint(folder: Path) -> str | None:
    """Return the last complete checkpoint; delete those whose writing was interrupted."""
    found: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        try:
            # The Trainer writes this file last.
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            shutil.rmtree(path)
            continue
        found[int(path.name.rpartition("-")[2])] = path
    return str(found[max(found)]) if found else None


def _report(runner: Runner, objective: Objective, target: Path) -> Report:
    parameters = list(objective.parameters())
    return Report(
        folder=target,
        steps=runner.state.global_step,
        loss=runner.last_loss,
        trained=sum(one.numel() for one in parameters if one.requires_grad),
        frozen=sum(one.numel() for one in parameters if not one.requires_grad),
        peak_mb=_peak_mb(),
    )


def _peak_mb() -> int | None:
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20)
    return peak_memory_mb()
