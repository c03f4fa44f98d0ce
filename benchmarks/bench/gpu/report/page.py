"""The report as a page for ``experiments/log``, and as JSON: what ran, what it found, what is owed.

Nothing is left out because it failed: a step without findings has its line and its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from decant.embedders import BundleError
from decant.embedders.json_records import read

from ...report import Figure, Row, Section, Target
from .steps import Outcome, State
from .work import Record

_CELL = 300  # characters of a reason in a table


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the steps of a folder found.

    Args:
        date: UTC, ISO 8601.
        command: What was typed.
        seed: Draws weights and texts.
        outcomes: What became of each step.
        records: What steps with findings found, by the step's name.
    """

    date: str
    command: str
    seed: int
    outcomes: tuple[Outcome, ...]
    records: dict[str, Record]


def record_of(step: str, folder: Path) -> Path:
    """Return the file of what a step found."""
    return folder / "found" / f"{step}.json"


def gather(folder: Path, outcomes: Sequence[Outcome], *, command: str, seed: int) -> Report:
    """Read what the steps of a folder found."""
    records = {}
    for outcome in outcomes:
        path = record_of(outcome.step, folder)
        if path.exists():
            records[outcome.step] = read(Record, path, error=BundleError)
    return Report(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        seed=seed,
        outcomes=tuple(outcomes),
        records=records,
    )


def page(report: Report) -> str:
    """Return the report as Markdown."""
    lines = [
        f"# {report.date[:10]}: what runs on this GPU, and how fast",
        "",
        f"Command: `{report.command}`, {report.date}, seed {report.seed}.",
        "",
        "## Steps",
        "",
        f"{_counted(report.outcomes)}",
        "",
        "| step | state | seconds | what it said |",
        "|---|---|---|---|",
    ]
    for one in report.outcomes:
        said = _cell(one.reason)
        lines.append(f"| {one.title} | {one.state} | {one.seconds:.0f} | {said} |")
    for outcome in report.outcomes:
        if (record := report.records.get(outcome.step)) is not None:
            lines += ["", f"## {_capital(outcome.title)}", *_record(record)]
    return "\n".join(lines) + "\n"


def _record(record: Record) -> list[str]:
    lines: list[str] = []
    if record.errors:
        lines += ["", "Failed:", "", *(f"- {_cell(error)}" for error in record.errors)]
    if record.notes:
        lines += ["", *(f"- {_cell(note)}" for note in record.notes)]
    for found in record.findings.sections:
        lines += _section(found)
    if figures := record.findings.figures:
        lines += ["", "| figure | value |", "|---|---|", *map(_figure, figures)]
    if targets := record.findings.targets:
        lines += ["", "| aimed at | wanted | measured | met |", "|---|---|---|---|"]
        lines += map(_target, targets)
    return lines


def _section(found: Section) -> list[str]:
    return [
        "",
        f"### {_capital(found.title)}",
        "",
        "| system | tokens/s | TFLOP/s | of peak | decant × | certificate |",
        "|---|---|---|---|---|---|",
        *map(_row, found.rows),
    ]


def _row(row: Row) -> str:
    compute, ratio = row.compute, row.our_speed_up
    cells = [
        row.name,
        f"{row.tokens_per_second:,.0f}",
        "" if compute is None else f"{compute.teraflops:.3g}",
        "" if compute is None else f"{compute.share:.1%}",
        "" if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        "" if compute is None else compute.certificate,
    ]
    return f"| {' | '.join(map(_cell, cells))} |"


def _figure(figure: Figure) -> str:
    return f"| {_cell(figure.name)} | {figure.value:.4g} {_cell(figure.unit)} |"


def _target(target: Target) -> str:
    bound = "at most" if target.at_most else "at least"
    unit = f" {target.unit}" if target.unit else ""
    return (
        f"| {_cell(target.name)} | {bound} {target.wanted:.4g}{unit} | {target.measured:.4g}{unit} "
        f"| {'yes' if target.met else '**no**'} |"
    )


def _counted(outcomes: Sequence[Outcome]) -> str:
    words = {
        State.PASSED: "passed",
        State.FAILED: "failed",
        State.LACKING: "could not run here",
        State.UNFINISHED: "had no time left (`--resume` runs them)",
    }
    counts = {state: sum(one.state is state for one in outcomes) for state in State}
    parts = [f"{counts[state]} {word}" for state, word in words.items() if counts[state]]
    return f"Of {len(outcomes)} steps {', '.join(parts)}."


def _cell(text: str) -> str:
    """Return text that fits one cell of a table."""
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= _CELL else f"{flat[: _CELL // 2]} … {flat[-_CELL // 2 :]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
