"""Print results on a terminal: certificates, hits, reports and lists of facts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from .places import counted
from .terminal import printable, results, say, show, show_lines

if TYPE_CHECKING:
    from pathlib import Path

    from decant.embedders import (
        Certificate,
        CertificateCheck,
        CertificateEntry,
        ScoreCheck,
        ScoreEntry,
    )
    from decant.integrations.qdrant import Hit, IndexReport

_PASSAGE_LINES = 3
_MOST_PROBLEMS = 20
_MOST_SKIPPED = 5


def show_facts(facts: Mapping[str, str]) -> None:
    """Print names and values, one pair a line."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        grid.add_row(name, Text(printable(value)))
    show(grid)


def show_certificate(certificate: Certificate) -> None:
    """Print a table of checks for each entry, and its agreement with the reference."""
    for scored in certificate.scores:
        show(_score_checks(scored))
        show_facts(
            {
                "reference": f"{scored.environment.get('reference', 'PyTorch float32')}; "
                f"worst difference {scored.worst_difference:.1e} of the scores' spread, "
                f"{scored.spread:.3g}",
                "order": f"Kendall tau {scored.kendall_tau:.4f}, nDCG loss "
                f"{scored.ndcg_loss:.4f}; probes up to {scored.longest} tokens",
            }
        )
    for entry in certificate.entries:
        show(_checks(entry))
        show_facts(
            {
                "reference": f"{entry.environment.get('reference', 'PyTorch float32')}; "
                f"worst cosine {floored(entry.worst_cosine)}, "
                f"mean {floored(entry.mean_cosine)}",
                "agreement": f"top-10 overlap {entry.top10_overlap:.1%}; largest error "
                f"{entry.max_abs_error:.1e}; probes up to {entry.longest} tokens",
                **{
                    task.name: f"{100 * task.value:.2f}, fp32 {100 * task.exact:.2f} points"
                    for task in entry.tasks
                },
            }
        )


def say_advice(bundle: Path) -> None:
    """Say which command may make a bundle faster on this machine, if one is known."""
    from decant.embedders import Bundle, DecantError
    from decant.embedders.onnx import rank_choices

    try:
        advice = rank_choices(Bundle.open(bundle)).choices[0].advice
    except DecantError:
        return  # whoever loads the bundle is shown the error
    if advice:
        say(advice, label="faster")


def _checks(entry: CertificateEntry) -> Table:
    rows = [(check, floored(check.worst_cosine)) for check in entry.checks]
    return _table_of_checks(entry, ("vectors", "worst cosine"), rows)


def _score_checks(entry: ScoreEntry) -> Table:
    rows = [(check, f"{check.worst:.1e}") for check in entry.checks]
    return _table_of_checks(entry, ("scores", "worst difference"), rows)


def _table_of_checks(
    entry: CertificateEntry | ScoreEntry,
    heads: tuple[str, str],
    rows: Iterable[tuple[CertificateCheck | ScoreCheck, str]],
) -> Table:
    verdict = Text("passed", "bold green") if entry.passed else Text("FAILED", "bold red")
    title = Text.assemble(f"certificate of {entry.precision} on {entry.provider}: ", verdict)
    table = Table(title=title, title_justify="left", title_style="", box=box.SIMPLE_HEAD)
    table.add_column("check", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right")
    table.add_column("", overflow="fold")
    for check, worst in rows:
        found = Text("ok", "green") if check.passed else Text(check.finding or "failed", "red")
        table.add_row(check.name, f"{check.cases:,}", worst, found)
    return table


def floored(cosine: float) -> str:
    """Return a cosine with seven digits, never rounded up to 1.

    >>> floored(0.99999999)
    '0.9999999'
    """
    return f"{math.floor(cosine * 1e7) / 1e7:.7f}"


def show_hits(hits: Iterable[Hit], *, first: int = 1, explain: bool = False) -> None:
    """Print hits: rank, score and source on a line, the start of the passage below.

    If hits come from several roots, each shows its root, because sources may then be equal.

    Args:
        hits: The hits, best first.
        first: The rank of the first of them.
        explain: Whether to end with a table of the rankings that found each hit.
    """
    width = min(results().width, 100)
    found = list(hits)
    has_several_roots = len({hit.root for hit in found}) > 1
    for rank, hit in enumerate(found, start=first):
        source = Text(printable(hit.source), "bold", no_wrap=True, overflow="ellipsis")
        # Fused scores are small and close together.
        score = f"{hit.score:.3f}" if abs(hit.score) >= 0.1 else f"{hit.score:.4f}"
        line = Text.assemble(f"{rank:>3}  ", (score, "cyan"), "  ", source)
        show(line)
        if has_several_roots and hit.root is not None:
            show(Text(f"     in {printable(hit.root)}", "dim", overflow="fold"))
        passage = Text(" ".join(printable(hit.text).split()))
        lines = passage.wrap(results(), width - len("     " + " …"))
        for number, shown in enumerate(lines[:_PASSAGE_LINES], start=1):
            cut = number == _PASSAGE_LINES < len(lines)
            shown.rstrip()
            show(Text("     ") + shown + Text(" …" if cut else ""))
    if explain and found:
        show(Text())
        show(_branch_table(found, first))


def show_scores(passages: Iterable[tuple[str, float, str]]) -> None:
    """Print scored passages, best first, each on a line: rank, score, place in the input, text.

    Args:
        passages: Place in the input, score and text of each.
    """
    rows = [
        (str(rank), f"{score:.4f}", place, text)
        for rank, (place, score, text) in enumerate(passages, start=1)
    ]
    if rows:
        show_lines(_score_lines(rows))


def _score_lines(rows: Sequence[tuple[str, str, str, str]]) -> Iterator[Text]:
    heads = ("rank", "score", "line")
    widths = [max(len(head), *(len(row[at]) for row in rows)) for at, head in enumerate(heads)]
    first, second, third = widths
    yield Text("  ".join([*map(str.rjust, heads, widths), "passage"]), "bold")
    for rank, score, place, text in rows:
        shown = " ".join(printable(text).split())
        yield Text.assemble(
            f"{rank:>{first}}  ", (f"{score:>{second}}", "cyan"), f"  {place:>{third}}  {shown}"
        )


def _branch_table(hits: Sequence[Hit], first: int) -> Table:
    """Return a row for each hit: its score, and its rank and score in each ranking, its boost."""
    names = list(dict.fromkeys(branch.name for hit in hits for branch in hit.branches))
    table = Table(box=None, pad_edge=False, header_style="bold")
    boosts = ["boost"] if any(hit.boost for hit in hits) else []
    for name in ("rank", "score", *names, *boosts):
        table.add_column(name, justify="right")
    for rank, hit in enumerate(hits, start=first):
        held = {branch.name: f"{branch.rank} ({branch.score:.3f})" for branch in hit.branches}
        raised = [f"{hit.boost:+.4f}"] if boosts else []
        ranks = [held.get(name, "–") for name in names]
        table.add_row(str(rank), f"{hit.score:.4f}", *ranks, *raised)
    return table


def show_report(report: IndexReport, *, seconds: float) -> None:
    """Print what an indexing run did, and which documents it could not read."""
    documents = ("added", "changed", "unchanged", "removed", "unreadable")
    chunks = ("embedded", "reused", "deleted")
    rate = f", {report.embedded / seconds:,.0f} chunks/s" if report.embedded and seconds else ""
    show_facts(
        {
            "documents": _counts(report, documents),
            "chunks": _counts(report, chunks),
            **_passed_over(report),
            "time": f"{duration(seconds)}{rate}",
        }
    )
    if report.repaired:
        show(
            Text(
                f"{report.repaired:,} of the changed documents were damaged and have been repaired"
            )
        )
    if report.damaged:
        damage = f"chunks of {counted(report.damaged, 'document')} were lost or wrong; index again"
        show(Text.assemble(("damaged ", "yellow"), damage))
    for problem in report.problems[:_MOST_PROBLEMS]:
        line = printable(f"{problem.source}: {problem.reason}")
        show(Text.assemble(("unreadable ", "yellow"), line))
    if (more := len(report.problems) - _MOST_PROBLEMS) > 0:
        show(Text(f"… and {more} more; --json lists all"))


def _passed_over(report: IndexReport) -> dict[str, str]:
    if not report.skipped:
        return {}
    shown = [f"{one.source} ({one.reason})" for one in report.skipped[:_MOST_SKIPPED]]
    more = len(report.skipped) - len(shown)
    rest = f" and {more} more, which --json lists" if more else ""
    return {"passed over": f"{len(report.skipped):,}: {', '.join(shown)}{rest}"}


def _counts(report: IndexReport, names: Iterable[str]) -> str:
    return " · ".join(f"{getattr(report, name):,} {name}" for name in names)


def duration(seconds: float) -> str:
    """Return a length of time for people.

    >>> duration(0.34), duration(75)
    ('0.3 s', '1 min 15 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
