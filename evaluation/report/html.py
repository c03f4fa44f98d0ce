"""Write one self-contained HTML file with tables of scores and plots.

Names come from users' folders and files and are always escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from decant.embedders.distribution import decant_version
from decant.embedders.files import write_atomically

from ..scores.measurement import Score
from .compare import ComparisonReport, Pairwise, SystemResult, shared_agreement
from .plots import COLOURS, bars, heat_map, spreads

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid #ddd; text-align: right;
  vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
small { color: #666; display: block; white-space: nowrap; }
.best { font-weight: 700; } .key { display: inline-block; width: .8em; height: .8em;
  margin: 0 .35em 0 1em; }
svg { max-width: 100%; height: auto; } .wide { overflow-x: auto; }
"""


def write_html(
    file: Path,
    results: Sequence[SystemResult],
    standing: ComparisonReport,
    *,
    agreement_task: str | None = None,
) -> None:
    """Write the report of several systems.

    Args:
        file: The file to write; an existing one is replaced.
        results: The measurements of the systems, in order.
        standing: Their comparison; see :func:`compare_systems`.
        agreement_task: The task on whose pairs the agreement of systems is shown, if there are two
            or more; None: no task.

    Raises:
        EvaluationError: As :func:`shared_agreement`.
        OSError: The file cannot be written.
    """
    write_atomically(file, html_page(results, standing, agreement_task=agreement_task))


def html_page(
    results: Sequence[SystemResult],
    standing: ComparisonReport,
    *,
    agreement_task: str | None = None,
) -> str:
    """Return the report as text; arguments as in :func:`write_html`."""
    names = [system.name for system in standing.systems]
    tasks = dict.fromkeys(score.name for score in standing.systems[0].scores)
    parts = [
        f"<h1>{escape(', '.join(names))}</h1>",
        _explained(names[0]),
        f"<p>{_legend(names)}</p>",
    ]
    parts += [_task(task, standing) for task in tasks]
    spread_of = {one.name: one.spread for one in results if one.spread is not None}
    if spread_of:
        parts += [
            "<h2>Cosines of all pairs of words</h2>",
            "<p>A narrow hump far from zero means that every word is like every other.</p>",
            _legend(list(spread_of)),
            f'<div class="wide">{spreads(spread_of)}</div>',
        ]
    if agreement_task is not None and len(results) > 1:
        found = shared_agreement(results, agreement_task)
        parts += [
            "<h2>Agreement between systems</h2>",
            (
                f"<p>Spearman’s correlation of their cosines: {escape(agreement_task)}, "
                f"{found.cases:,} pairs that all know.</p>"
            ),
            f'<div class="wide">{heat_map(found)}</div>',
        ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(', '.join(names))}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _explained(first: str) -> str:
    return (
        "<p>Shares and correlations × 100, cosines and other measures as they are, with 95 % "
        f"bootstrap intervals. Differences are against <b>{escape(first)}</b> over the cases that "
        "both cover, with the p-value of the paired bootstrap, except where a measure only "
        "describes a space or fewer than six cases are shared; p-values are not corrected for how "
        "many there are. "
        f"Made by decant {escape(decant_version())}.</p>"
    )


def _task(task: str, standing: ComparisonReport) -> str:
    """Return the heading, table and plot of one task."""
    scores = {
        system.name: [score for score in system.scores if score.name == task]
        for system in standing.systems
    }
    metrics = max(([score.metric for score in found] for found in scores.values()), key=len)
    own = {name: _aligned(found, metrics) for name, found in scores.items()}
    versus = {
        (one.second, one.comparison.metric): one
        for one in standing.comparisons
        if one.comparison.name == task
    }
    rows = []
    for number, metric in enumerate(metrics):
        row = {name: found[number] for name, found in own.items()}
        best = max(score.value for score in row.values() if score is not None)
        cells = [
            "<td>–</td>"
            if score is None
            else _cell(
                score,
                versus.get((name, metric)),
                leads=score.higher_is_better and score.value == best,
            )
            for name, score in row.items()
        ]
        rows.append(f"<tr><td>{escape(metric)}</td>{''.join(cells)}</tr>")
    heading = "".join(f"<th>{escape(name)}</th>" for name in own)
    return (
        f"<h2>{escape(task)}</h2>\n"
        f'<div class="wide"><table><tr><th></th>{heading}</tr>{"".join(rows)}</table></div>\n'
        f'<div class="wide">{bars(metrics, own)}</div>'
    )


def _aligned(scores: Sequence[Score], metrics: Sequence[str]) -> list[Score | None]:
    """Return one score a metric, None where a system could not be measured by it.

    Metrics come in the same order for all systems.
    """
    left = list(scores)
    return [left.pop(0) if left and left[0].metric == metric else None for metric in metrics]


def _cell(score: Score, versus: Pairwise | None, *, leads: bool) -> str:
    shown = score.unit.shown
    cases = f"{score.cases:,} {'case' if score.cases == 1 else 'cases'}"
    lines = [f"{shown(score.low)} to {shown(score.high)}", cases]
    if score.coverage < 1:
        lines.append(f"coverage {min(score.coverage, 0.999):.1%}")  # never shown as whole
    if score.note:
        lines.append(escape(score.note))
    if versus is not None:
        difference = versus.comparison.difference
        ends = (shown(end, signed=True) for end in (difference.low, difference.high))
        test = "" if difference.p_value is None else f", p {difference.p_value:.2g}"
        lines.append(f"{shown(difference.value, signed=True)} ({' to '.join(ends)}){test}")
    small = "".join(f"<small>{line}</small>" for line in lines)
    kind = ' class="best"' if leads else ""
    return f"<td><span{kind}>{shown(score.value)}</span>{small}</td>"


def _legend(names: Sequence[str]) -> str:
    return "".join(
        f'<span class="key" style="background:{COLOURS[number % len(COLOURS)]}"></span>'
        f"{escape(name)}"
        for number, name in enumerate(names)
    )
