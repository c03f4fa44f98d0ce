"""``decant doctor``: find out what runs on this machine, and how to repair the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, assert_never

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from decant.embedders.doctor import Health

from ..exit_codes import Exit
from ..options.shared import AsJson
from ..output.progress import steps
from ..output.quiet import silenced
from ..output.terminal import printable, say, show, show_json

if TYPE_CHECKING:
    from decant.embedders.doctor import Finding


def doctor(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="BUNDLE", help="Also check how this bundle runs here."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Find out what runs on this machine and what does not.

    Opens a session on every execution provider; names missing libraries,
    packages that overwrite each other and, with BUNDLE, operators that fell back
    to the CPU. Exits with 1 if there is a problem; notes do not count.

    Examples:
      decant doctor
      decant doctor minilm --json
    """
    from decant.embedders.doctor import diagnose

    with silenced(), steps(keep=False) as on_step:
        on_step("trying what runs here")
        diagnosis = diagnose(bundle)
    problems = len(diagnosis.problems)
    if as_json:
        show_json({"problems": problems, "findings": diagnosis.findings})
    else:
        show(_table(diagnosis.findings))
    if problems:
        say(f"{problems} problem{'s' if problems > 1 else ''}", label="doctor", style="bold red")
        raise typer.Exit(Exit.FINDING)
    say("no problems", label="doctor", style="bold green")


def _table(findings: tuple[Finding, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    topic = ""
    for finding in findings:
        if topic and finding.topic != topic:
            table.add_section()
        topic = finding.topic
        detail = Text(printable(finding.detail))
        if finding.advice:
            detail.append(f"\n→ {finding.advice}", "bold")
        table.add_row(_mark(finding.health), finding.name, detail)
    return table


def _mark(health: Health) -> Text:
    match health:
        case Health.GOOD:
            return Text("ok", "green")
        case Health.NOTE:
            return Text("note", "yellow")
        case Health.PROBLEM:
            return Text("problem", "bold red")
        case _:
            assert_never(health)
