"""Progress of long work, on stderr: bars and spinners on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from decant.embedders import OnStep

from .places import counted
from .terminal import messages, say


@contextmanager
def steps(*, keep: bool = True) -> Iterator[OnStep]:
    """Yield a function to call with the name of each step as it begins.

    Args:
        keep: Whether finished steps stay on the screen, with the time they took.
    """
    if not messages().is_terminal:
        yield lambda name: say(f"{name} …")
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=messages(), transient=not keep) as progress:
        underway: list[TaskID] = []

        def begin(name: str) -> None:
            if underway:
                progress.update(underway.pop(), completed=1)
            underway.append(progress.add_task(name, total=1))

        try:
            yield begin
        except BaseException:
            # Not finished, so no tick; the message that follows says what happened.
            for task in underway:
                progress.remove_task(task)
            raise
        for task in underway:
            progress.update(task, completed=1)


@dataclass(slots=True)
class Bar:
    """A progress bar with a note."""

    _progress: Progress
    _task: TaskID
    started: float

    def update(self, done: int, note: str = "") -> None:
        """Move the bar.

        Args:
            done: How much of the total is done.
            note: A text after the bar.
        """
        self._progress.update(self._task, completed=done, note=note)

    @property
    def seconds(self) -> float:
        """Seconds since the bar began."""
        return time.monotonic() - self.started


@contextmanager
def bar(verb: str, *, total: int | None, unit: str, hidden: bool = False) -> Iterator[Bar]:
    """Yield a bar that vanishes at the end: it shows a count, the elapsed and the remaining time.

    Args:
        verb: What is being done, for example ``indexing``.
        total: How much there is; None if unknown.
        unit: What is counted, in the plural.
        hidden: Print a line instead of drawing a bar, even on a terminal.
    """
    visible = messages().is_terminal and not hidden
    if not visible:
        what = unit if total is None else counted(total, unit.removesuffix("s"))
        say(f"{verb} {what} …")
    columns: list[ProgressColumn] = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        *([] if total is None else [TimeRemainingColumn(), TextColumn("left")]),
    ]
    progress = Progress(
        *columns, console=messages(), expand=True, transient=True, disable=not visible
    )
    # In rich 13.8 one that is disabled prints an empty line where it ends.
    drawn: AbstractContextManager[object] = progress if visible else nullcontext()
    with drawn:
        task = progress.add_task(verb, total=total, note=unit)
        yield Bar(progress, task, time.monotonic())
