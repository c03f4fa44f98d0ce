"""Tables of ``decant evaluate``: one for each task, with a row per metric, a column per system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .terminal import printable, show

if TYPE_CHECKING:
    from rich.table import Table

    from decant.evaluation import ComparisonReport, Pairwise, Score


def show_standing(standing: ComparisonReport) -> None:
    """Print the tables of all tasks."""
    from rich.text import Text

    rows: dict[str, list[tuple[int, Score]]] = {}
    for number, system in enumerate(standing.systems):
        for score in system.scores:
            rows.setdefault(score.name, []).append((number, score))
    versus = {
        (one.second, one.comparison.name, one.comparison.metric): one
        for one in standing.comparisons
    }
    for task, scores in rows.items():
        table = _table(task, [system.name for system in standing.systems])
        metrics: dict[str, dict[int, Score]] = {}
        for number, score in scores:
            metrics.setdefault(score.metric, {})[number] = score
        for metric, found in metrics.items():
            cells = [
                _cell(found[number], versus.get((system.name, task, metric)))
                if number in found
                else "–"
                for number, system in enumerate(standing.systems)
            ]
            table.add_row(Text(printable(metric)), *cells)
        show(table)


def _table(task: str, systems: list[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(task), "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for name in systems:
        table.add_column(Text(printable(name)), justify="right")
    return table


def _cell(score: Score, versus: Pairwise | None) -> str:
    """Return value, interval, number of cases, coverage, and difference from the first system."""
    shown = score.unit.shown
    lines = [
        shown(score.value),
        f"{shown(score.low)} to {shown(score.high)}",
        f"{score.cases:,} {'case' if score.cases == 1 else 'cases'}",
    ]
    if score.coverage < 1:
        lines.append(f"coverage {min(score.coverage, 0.999):.1%}")  # never shown as whole
    if score.note:
        lines.append(printable(score.note))
    if versus is not None:
        difference = versus.comparison.difference
        test = "" if difference.p_value is None else f", p {difference.p_value:.2g}"
        lines.append(f"{shown(difference.value, signed=True)}{test}")
    return "\n".join(lines)
