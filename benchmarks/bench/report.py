"""Show results as tables on the terminal, and write them as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from decant.embedders.json_records import to_json

from .machine import Circumstances
from .rounds import Contender, Lap, Spread, speed_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much work one run does."""

    chunks: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """What a row's speed is worth on its device.

    Args:
        teraflops: 10^12 floating-point operations a second of the median run, padding not counted.
        share: Of the matrix product's measured peak; 1 is all of it.
        certificate: What the graph's certificate says, for people; empty for peers.
    """

    teraflops: float
    share: float
    certificate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One contender's result.

    Args:
        name: Who.
        settings: How it was set.
        chunks: How many it made vectors of in a run.
        tokens: How many these have; padding and truncation do not count.
        chunks_per_second: Of the median run.
        tokens_per_second: Of the median run.
        chunks_per_cpu_second: Of the median run, over all cores' seconds.
        our_speed_up: How many times as fast ours is, round by round; None for ours.
        laps: Every run.
        compute: Where operations were counted.
    """

    name: str
    settings: str
    chunks: int
    tokens: int
    chunks_per_second: float
    tokens_per_second: float
    chunks_per_cpu_second: float
    our_speed_up: Spread | None
    laps: tuple[Lap, ...]
    compute: Compute | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One comparison: the same work for all rows."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A single number that is no comparison of contenders."""

    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What was aimed at; it is met if ``measured`` is at least (or at most) ``wanted``."""

    name: str
    wanted: float
    measured: float
    unit: str
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the target was reached."""
        if self.at_most:
            return self.measured <= self.wanted
        return self.measured >= self.wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a part of a benchmark found; a result has all of them."""

    sections: tuple[Section, ...] = ()
    figures: tuple[Figure, ...] = ()
    targets: tuple[Target, ...] = ()

    def and_then(self, other: Findings) -> Findings:
        """Return both, these first."""
        return Findings(
            sections=self.sections + other.sections,
            figures=self.figures + other.figures,
            targets=self.targets + other.targets,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that a benchmark found; what ``--output`` holds.

    Args:
        benchmark: Its name.
        circumstances: When, where and how.
        seed: Draws texts.
        settings: The remaining options, as text.
        sections: The comparisons.
        figures: Single numbers.
        targets: What was aimed at.
    """

    benchmark: str
    circumstances: Circumstances
    seed: int
    settings: dict[str, str]
    sections: tuple[Section, ...] = ()
    figures: tuple[Figure, ...] = ()
    targets: tuple[Target, ...] = ()


def section(
    title: str,
    contenders: Sequence[Contender],
    laps: Mapping[str, tuple[Lap, ...]],
    amounts: Mapping[str, Amount],
) -> Section:
    """Sum up laps; the first contender is ours.

    Args:
        title: What was done.
        contenders: Who did it.
        laps: For each name its runs.
        amounts: For each name how much a run of it does.
    """
    ours = contenders[0].name
    rows = []
    for contender in contenders:
        found, amount = laps[contender.name], amounts[contender.name]
        wall = median(lap.wall for lap in found)
        rows.append(
            Row(
                name=contender.name,
                settings=contender.settings,
                chunks=amount.chunks,
                tokens=amount.tokens,
                chunks_per_second=amount.chunks / wall,
                tokens_per_second=amount.tokens / wall,
                chunks_per_cpu_second=amount.chunks / median(lap.cpu for lap in found),
                our_speed_up=(
                    None if contender.name == ours else speed_up(laps, ours, contender.name)
                ),
                laps=found,
            )
        )
    return Section(title=title, rows=tuple(rows))


def lowest_speed_up(found: Section, prefix: str) -> float:
    """Return our median speed-up over the fastest contender whose name starts with ``prefix``."""
    ratios = [
        row.our_speed_up.median
        for row in found.rows
        if row.our_speed_up is not None and row.name.startswith(prefix)
    ]
    return min(ratios)


def show(result: Result, console: Console) -> None:
    """Print a result's tables."""
    where = result.circumstances
    console.print(f"{where.processor}, {where.cores} cores; load before {where.load:.2f}")
    for found in result.sections:
        console.print(_table(found))
    rows = [row for found in result.sections for row in found.rows]
    for name, settings in {row.name: row.settings for row in rows}.items():
        console.print(f"[dim]{name}: {settings}[/]")
    for figure in result.figures:
        console.print(f"{figure.name}: [bold]{_number(figure.value)}[/] {figure.unit}")
    for target in result.targets:
        verdict = "[green]met[/]" if target.met else "[red]missed[/]"
        bound = "at most" if target.at_most else "at least"
        console.print(
            f"target {verdict}: {target.name} {bound} {_number(target.wanted)} {target.unit}, "
            f"measured {_number(target.measured)}"
        )


def save(result: Result, path: Path) -> None:
    """Write a result as JSON, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(result), encoding="utf-8")


def _table(found: Section) -> Table:
    table = Table(title=found.title, title_justify="left", title_style="bold")
    table.add_column("system")
    counted = any(row.compute is not None for row in found.rows)
    plain = ("chunks", "tokens", "chunks/s", "tokens/s", "chunks/CPU-s", "decant ×")
    worth = ("tokens", "tokens/s", "TFLOP/s", "of peak", "decant ×", "certificate")
    for heading in worth if counted else plain:
        table.add_column(heading, justify="right")
    for row in found.rows:
        table.add_row(*(_plain(row) if row.compute is None else _worth(row, row.compute)))
    return table


def _plain(row: Row) -> list[str]:
    return [
        row.name,
        f"{row.chunks:,}",
        f"{row.tokens:,}",
        _number(row.chunks_per_second),
        f"{row.tokens_per_second:,.0f}",
        _number(row.chunks_per_cpu_second),
        _ratio(row.our_speed_up),
    ]


def _worth(row: Row, compute: Compute) -> list[str]:
    return [
        row.name,
        f"{row.tokens:,}",
        f"{row.tokens_per_second:,.0f}",
        _number(compute.teraflops),
        f"{compute.share:.1%}",
        _ratio(row.our_speed_up),
        compute.certificate,
    ]


def _ratio(found: Spread | None) -> str:
    if found is None:
        return ""
    return f"{found.median:.2f} ({found.low:.2f}–{found.high:.2f})"


def _number(value: float) -> str:
    """Show three digits or more, never an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
