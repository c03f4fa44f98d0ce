"""Steps that run one after the other within a budget, each guarded, and what became of them.

A step is a command. One that fails, hangs or takes its process down is written down, and the others
go on. What became of each is in the folder at once, so that a later call can resume. Invariant: a
step has at most one outcome, and one that passed is not run again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from decant.embedders import BundleError
from decant.embedders.json_records import read, to_json

_WORDS = 600  # characters of a log's end that the page shows


class State(StrEnum):
    """What became of a step.

    PASSED: it did its work. FAILED: it ended with an error, or was stopped. LACKING: something that
    it needs is not here, and no failure. UNFINISHED: the budget ended before it.
    """

    PASSED = "passed"
    FAILED = "failed"
    LACKING = "lacking"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do.

    Args:
        name: Of its files.
        title: What it does, for people.
        command: The command line.
        least: Seconds that must be left for it to begin.
        most: Seconds after which it is stopped, budget or not.
        lacking: Why it cannot run here; empty if it can.
        output: Where its standard output goes, in the folder; empty: into its log.
    """

    name: str
    title: str
    command: tuple[str, ...]
    least: float = 5.0
    most: float = 600.0
    lacking: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a step.

    Args:
        step: Its name.
        title: What it does.
        state: What became of it.
        seconds: How long it ran.
        reason: Why it did not pass; empty if it did.
    """

    step: str
    title: str
    state: State
    seconds: float
    reason: str = ""


Run = Callable[[Step, Path, float], int | None]
"""Runs a step in a folder for so many seconds; returns its exit code, or None if it was stopped."""


def carry_out(
    steps: Sequence[Step],
    folder: Path,
    *,
    seconds: float,
    run: Run,
    clock: Callable[[], float] = time.monotonic,
    on_step: Callable[[str], object],
) -> list[Outcome]:
    """Run the steps that have not passed, and return what became of all, in their order.

    Steps that never ran come first, those that failed before after them.

    Args:
        steps: The most important first.
        folder: Holds outcomes and logs; those of an earlier call are taken up.
        seconds: The budget of this call.
        run: Runs a step.
        clock: Gives seconds.
        on_step: Called with the title of each step as it begins.
    """
    end = clock() + seconds
    before = {step.name: outcome_of(step, folder) for step in steps}
    failed = [step for step in steps if (it := before[step.name]) and it.state is State.FAILED]
    fresh = [step for step in steps if step not in failed]
    for step in [*fresh, *failed]:
        known = before[step.name]
        if known is not None and known.state is State.PASSED:
            continue
        left = end - clock()
        if step.lacking:
            outcome = _outcome(step, State.LACKING, 0, step.lacking)
        elif left < step.least:
            if known is not None and known.state is State.FAILED:
                continue  # what it failed of says more than that there was no time
            reason = f"{max(left, 0):.0f} s were left, and it needs {step.least:.0f} s"
            outcome = _outcome(step, State.UNFINISHED, 0, reason)
        else:
            on_step(step.title)
            outcome = _ran(step, folder, min(left, step.most), run, clock)
        path = _file(step, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_json(outcome), encoding="utf-8")
    return [found for step in steps if (found := outcome_of(step, folder)) is not None]


def outcome_of(step: Step, folder: Path) -> Outcome | None:
    """Return what became of a step in this folder; None if it was not come to."""
    path = _file(step, folder)
    return read(Outcome, path, error=BundleError) if path.exists() else None


def log_of(step: str, folder: Path) -> Path:
    """Return where what a step writes to its terminal goes."""
    return folder / "logs" / f"{step}.log"


def run_process(step: Step, folder: Path, seconds: float) -> int | None:
    """Run a step as a process of its own; None if it was stopped after ``seconds``."""
    log = log_of(step.name, folder)
    output = folder / step.output if step.output else log
    with log.open("ab") as written, output.open("ab" if output == log else "wb") as told:
        process = subprocess.Popen(
            step.command,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=written,
            start_new_session=True,  # so that what it starts ends with it
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return 1 if a step failed, 3 if the budget ended before one, else 0."""
    states = {outcome.state for outcome in outcomes}
    if State.FAILED in states:
        return 1
    return 3 if State.UNFINISHED in states else 0


def _ran(step: Step, folder: Path, seconds: float, run: Run, clock: Callable[[], float]) -> Outcome:
    log = log_of(step.name, folder)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("", encoding="utf-8")
    start = clock()
    try:
        code = run(step, folder, seconds)
    except OSError as error:  # no such program
        log.write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
        code = -1
    took = clock() - start
    if code == 0:
        return _outcome(step, State.PASSED, took)
    said = log.read_text(encoding="utf-8", errors="replace").strip()[-_WORDS:]
    what = f"it was stopped after {seconds:.0f} s" if code is None else f"exit code {code}"
    return _outcome(step, State.FAILED, took, f"{what}: {said}" if said else what)


def _outcome(step: Step, state: State, seconds: float, reason: str = "") -> Outcome:
    return Outcome(step=step.name, title=step.title, state=state, seconds=seconds, reason=reason)


def _file(step: Step, folder: Path) -> Path:
    return folder / "steps" / f"{step.name}.json"
