"""One run: Transformers' Trainer around an objective, its log, and the model that it leaves.

What this adds to the Trainer: checkpoints hold only what is trained; parts of the loss are in the
log; a loss that is no number ends the run. While it runs, everything lies in a folder beside the
target; the target appears whole or not at all. Invariant: the same data, settings and seed give
the same weights on the same machine, whether the run was interrupted or not.
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
    """What a run did.

    Args:
        folder: Where the model lies.
        steps: Steps taken, those before an interruption included.
        loss: Mean loss of the last line of the log.
        trained: Numbers that were trained.
        frozen: Numbers that were not.
        peak_mb: Most memory that the process, or the GPU if there is one, held in 2**20 bytes.
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

    A run that was interrupted goes on from its last checkpoint when it is started again with the
    same data and settings.

    Args:
        objective: What is trained, and how.
        table: The rows to learn from.
        target: A folder that is made; ``<target>.partial`` holds the run until then.
        loop: Steps, rates, seed.
        callbacks: What is called with each line of the log, and what measures meanwhile.

    Raises:
        DataError: The rows are too few for a batch, or the objective cannot learn from them.
        TrainingError: ``target`` exists, a begun run has other settings, or the loss is no number.
    """
    check_run(objective, table, target, loop)
    order = TaskOrder(table, batch_size=loop.batch_size, seed=loop.seed)
    partial = _partial(target)
    begun = partial / "checkpoints"
    begun.mkdir(parents=True, exist_ok=True)
    runner = Runner(objective, table, order, loop, callbacks or TrainingCallbacks(), partial)
    # Of several processes the first alone writes; the others wait, and find what it left.
    with runner.args.main_process_first(local=False):
        _same_run(partial / _RUN, objective, table, loop)
        objective.prepare(table, partial, batch_size=loop.batch_size)
        last = _last_checkpoint(begun)
    runner.train(resume_from_checkpoint=last)
    report = _report(runner, objective, target)
    with runner.args.main_process_first(local=False):
        if runner.is_world_process_zero():
            _leave(objective, partial, target, report)
    return report


def _leave(objective: Objective, partial: Path, target: Path, report: Report) -> None:
    """Write the model and what is known of its run to the target."""
    made = partial / "model"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    objective.to("cpu").eval()
    objective.write(made)
    about = made / _ABOUT
    about.mkdir()
    for name in (LOG, _RUN):
        shutil.copyfile(partial / name, about / name)
    draw_curves(partial / LOG, about / CURVES)
    numbers = {name: value for name, value in asdict(report).items() if name != "folder"}
    (about / _REPORT).write_text(to_json(numbers), encoding="utf-8")
    made.rename(target)
    shutil.rmtree(partial)


def finish_run(
    objective: Objective, table: TrainingDataset, target: Path, loop: TrainingSettings
) -> Report | None:
    """Return the report of a run that has left its model, so that what follows it can go on.

    What an interruption left of the run beside its model is deleted.

    Arguments as :func:`train`.

    Returns:
        None where there is nothing at ``target``, or what is there is not of this very run.
    """
    about = target / _ABOUT
    try:
        held = json.loads((about / _RUN).read_text(encoding="utf-8"))
        numbers = json.loads((about / _REPORT).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    asked = _said_of_run(objective, table, loop)
    if any(held.get(name) != value for name, value in asked.items()):
        return None
    shutil.rmtree(_partial(target), ignore_errors=True)
    return Report(folder=target, **numbers)


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial")


def check_run(
    objective: Objective, table: TrainingDataset, target: Path, loop: TrainingSettings
) -> None:
    """Refuse what :func:`train` would refuse of target and data, without a step.

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
            f"{first.place}: there is an instruction, which this method has no place for with "
            f"{objective.base.source.base}; leave the column out, or write it into the queries"
        )
    if table.answered.any() and not objective.takes_negative_answers():
        first = table[int(table.answered.argmax())]
        raise DataError(
            f"{first.place}: negatives have answers, which this method has no place for; leave the "
            "column out, or name it among the negatives (columns 'query=…,negatives=…')"
        )
    objective.check(table)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What makes a run the same one."""

    method: str
    recipe: Recipe
    settings: object
    lora: Lora | None
    dropout: float | None
    max_tokens: int | None
    loop: TrainingSettings
    rows: int
    data: str


def _said_of_run(
    objective: Objective, table: TrainingDataset, loop: TrainingSettings
) -> dict[str, object]:
    """Return what makes a run the same one, as JSON has it."""
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
    """Write what a run is, or see that the one that was begun here is the same."""
    asked = _said_of_run(objective, table, loop)
    if not path.exists():
        write_atomically(path, to_json(asked))
        return
    held = json.loads(path.read_text(encoding="utf-8"))
    if other := [name for name in asked if held.get(name) != asked[name]]:
        raise TrainingError(
            f"{path.parent} holds a run that was begun with other {', '.join(other)}; delete the "
            "folder to begin anew, or say the same as then to go on"
        )


def _last_checkpoint(folder: Path) -> str | None:
    """Return the last whole checkpoint; drop those whose writing was interrupted."""
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
