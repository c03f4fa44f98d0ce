"""A run of ``decant train``: describe the data, show progress, and evaluate before and after."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table as Shown
from rich.text import Text

from decant.embedders import OnStep

from ...output.comparison_tables import show_standing
from ...output.progress import bar, steps
from ...output.quiet import silenced
from ...output.terminal import messages, say, show_json
from ...output.views import show_facts

if TYPE_CHECKING:
    from decant.embedders import TorchEncoder
    from decant.evaluation import ComparisonReport, SystemResult, Task
    from decant.training import (
        DataReport,
        Objective,
        Report,
        TrainingCallbacks,
        TrainingDataset,
        TrainingSettings,
    )

    from ...options.train import RunOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A training run with its evaluation.

    Args:
        objective: The method with its model.
        table: The rows to learn from.
        target: The folder of the trained model.
        loop: Settings of the loop.
        tasks: The tasks of the evaluation before and after; empty: there is none.
        reopen: Opens the trained folder for the tasks; None: as an encoder.
    """

    objective: Objective
    table: TrainingDataset
    target: Path
    loop: TrainingSettings
    tasks: Sequence[Task]
    reopen: Callable[[Path], TorchEncoder] | None = None


def begin(
    options: RunOptions, objective: Objective, files: Sequence[Path], loop: TrainingSettings
) -> None:
    """Read the data of an objective, and run the training with the given options."""
    run = Run(
        objective=objective,
        table=options.table(files, objective.needs),
        target=options.out,
        loop=loop,
        tasks=options.tasks(),
    )
    carry_out(run, as_json=options.json)


def carry_out(run: Run, *, as_json: bool) -> None:
    """Describe the data, measure, train, measure again, and show what changed.

    If an earlier run was interrupted after training, only its evaluation is done.
    """
    from decant.training import check_run, describe, finish_run, leave_other_processes, train

    report = finish_run(run.objective, run.table, run.target, run.loop)
    if not _first_process():
        if report is None:
            with silenced():
                train(run.objective, run.table, run.target, run.loop)
            leave_other_processes()
        return
    measured = run.target / "training" / "standing.json"
    if report is None or not run.tasks or measured.exists():
        report = None
        check_run(run.objective, run.table, run.target, run.loop)
    found = describe(run.table, run.objective.lengths, seed=run.loop.seed)
    show_data(found)
    results: list[SystemResult] = []
    if run.tasks:
        with steps(keep=False) as on_step, silenced(), run.objective.eval_encoder() as encoder:
            results.append(_scored("before", encoder, run.tasks, on_step))
    if report is None:
        with _watched(run) as callbacks, silenced():
            report = train(run.objective, run.table, run.target, run.loop, callbacks=callbacks)
        leave_other_processes()
    else:
        say(f"{run.target} is trained already; it is evaluated now")
    standing = None
    if run.tasks:
        standing = _standing(run, results)
        from decant.embedders.files import write_atomically
        from decant.embedders.json_records import to_json

        write_atomically(measured, to_json(standing))
    if as_json:
        numbers = {
            name: getattr(report, name)
            for name in ("steps", "loss", "trained", "frozen", "peak_mb")
        }
        shown = {"model": str(run.target), "data": found, "run": numbers, "standing": standing}
        show_json(shown)
        return
    if standing is not None:
        show_standing(standing)
    show_facts(_facts(report))
    say(f"wrote {run.target}; next: decant export {run.target} BUNDLE")


def _first_process() -> bool:
    """Return whether this process evaluates and prints; torchrun numbers its processes."""
    return os.environ.get("RANK", "0") == "0"


def _standing(run: Run, results: list[SystemResult]) -> ComparisonReport:
    from decant.embedders import TorchEncoder
    from decant.evaluation import compare_systems

    with steps(keep=False) as on_step, silenced():
        encoder = (run.reopen or TorchEncoder.from_pretrained)(run.target)
        results.append(_scored("after", encoder, run.tasks, on_step))
        on_step("comparing")
        return compare_systems(results)


def _scored(
    name: str, encoder: TorchEncoder, tasks: Sequence[Task], on_step: OnStep
) -> SystemResult:
    from decant.evaluation import score_system

    return score_system(name, encoder, tasks, on_step=on_step)


@contextmanager
def _watched(run: Run) -> Iterator[TrainingCallbacks]:
    """Yield callbacks that show a bar, and a line for every evaluation."""
    from decant.training import TrainingCallbacks

    with bar("training", total=None, unit="steps") as progress:

        def watch(step: int, total: int, values: Mapping[str, float]) -> None:
            if "loss" in values:
                progress.update(step, f"of {total}, loss {values['loss']:.4f}")
                if not messages().is_terminal:
                    say(f"step {step} of {total}: loss {values['loss']:.4f}")
            else:
                said = ", ".join(f"{name} {100 * value:.2f}" for name, value in values.items())
                say(f"step {step}: {said}")

        yield TrainingCallbacks(progress=watch, scorer=_scorer(run.tasks) if run.tasks else None)


def _scorer(tasks: Sequence[Task]) -> Callable[[TorchEncoder], dict[str, float]]:
    """Return a function that gives the first measure of each task for an encoder."""

    def score(encoder: TorchEncoder) -> dict[str, float]:
        found = {}
        for task in tasks:
            first = next(iter(task.score(encoder))).score
            found[f"{first.name}, {first.metric}"] = first.value
        return found

    return score


def _facts(report: Report) -> dict[str, str]:
    memory = "" if report.peak_mb is None else f"{report.peak_mb:,} MB at most"
    return {
        "model": str(report.folder),
        "steps": f"{report.steps:,}, last loss {report.loss:.4f}",
        "weights": f"{report.trained:,} trained, {report.frozen:,} frozen",
        "memory": memory or "not known on this system",
    }


def show_data(report: DataReport) -> None:
    """Print a description of the data on stderr."""
    facts = f"{report.rows:,} rows in {report.groups:,} groups"
    if report.repeated:
        facts += f"; {report.repeated:,} repeated ones left out"
    say(facts)
    if len(report.tasks) > 1:
        say("tasks: " + ", ".join(f"{name or '-'} {size:,}" for name, size in report.tasks.items()))
    if report.scores:
        say("scores: " + ", ".join(f"{name}: {size:g}" for name, size in report.scores.items()))
    table = Shown(box=box.SIMPLE_HEAD)
    for name in ("text", "median", "95 %", "longest", "cut"):
        table.add_column(name, justify="left" if name == "text" else "right")
    for kind, one in report.lengths.items():
        cells = (f"{one.median:,}", f"{one.most:,}", f"{one.longest:,}", f"{one.cut:.1%}")
        table.add_row(Text(kind), *cells)
    messages().print(table)
