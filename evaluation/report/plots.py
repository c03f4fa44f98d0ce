"""Draw plots as SVG for an HTML page; the only file that needs matplotlib.

Text stays text in the SVG, so that it can be searched and has the page's font. Invariant: the
same numbers give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..scores.measurement import Score
from ..scores.units import Unit
from ..tasks.agreement import Agreement
from ..tasks.cosine_spread import Spread

COLOURS = ("#2a6f97", "#e07a1f", "#4f8f3a", "#b23a48", "#7b5ea7", "#6b705c")
"""Of systems, in their order; they repeat from the seventh on."""

_AXIS = {
    Unit.FRACTION: "value × 100, with 95 % interval",
    Unit.COSINE: "cosine, with 95 % interval",
    Unit.NUMBER: "value, with 95 % interval",
}


def bars(metrics: Sequence[str], scores: Mapping[str, Sequence[Score | None]]) -> str:
    """Return a plot of values with intervals: a group of bars per metric, a colour per system.

    All shares have one axis, and so have all cosines. Any other measure has its own axis, because
    ranks and logarithms on one axis would hide each other.

    Args:
        metrics: The metrics from top to bottom.
        scores: For each system, one score per metric in the same order; None: there is no bar.
    """
    panels = _panels(scores, len(metrics))
    high = 0.28 * len(scores) + 0.16
    heights = [0.7 + high * len(rows) for _, rows in panels]
    with _settings():
        figure = Figure(figsize=(8.5, sum(heights)), layout="constrained")
        below = figure.subplots(len(panels), squeeze=False, height_ratios=heights)
        for axes, (unit, rows) in zip(below.ravel(), panels, strict=True):
            for number, row in enumerate(scores.values()):
                shift = (number - (len(scores) - 1) / 2) * 0.8 / len(scores)
                own = {at + shift: one for at, here in enumerate(rows) if (one := row[here])}
                if own:
                    _draw_bars(axes, own, height=0.72 / len(scores), colour=_colour(number))
            axes.set_yticks(range(len(rows)), [metrics[here] for here in rows])
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.axvline(0, color="#333333", linewidth=0.8)
            axes.grid(axis="x", color="#dddddd", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.set_xlabel(_AXIS[unit])
        return _svg(figure)


def _panels(
    scores: Mapping[str, Sequence[Score | None]], metrics: int
) -> list[tuple[Unit, list[int]]]:
    """Return the rows that share an axis, in the order of the first of them, with their unit."""
    panels: list[tuple[Unit, list[int]]] = []
    for row in range(metrics):
        unit = next((one.unit for own in scores.values() if (one := own[row])), Unit.FRACTION)
        same_axis = [rows for held, rows in panels if held is unit and unit is not Unit.NUMBER]
        if same_axis:
            same_axis[0].append(row)
        else:
            panels.append((unit, [row]))
    return panels


def _draw_bars(axes: Axes, own: Mapping[float, Score], *, height: float, colour: str) -> None:
    """Draw one system's bars at these places."""
    factors = np.array([one.unit.factor for one in own.values()])
    value, low, high = (
        factors * np.array([getattr(one, end) for one in own.values()])
        for end in ("value", "low", "high")
    )
    axes.barh(
        list(own),
        value,
        height=height,
        color=colour,
        # A percentile interval need not hold the value itself.
        xerr=np.stack([np.maximum(value - low, 0), np.maximum(high - value, 0)]),
        error_kw={"ecolor": "#333333", "elinewidth": 1, "capsize": 2},
    )


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def spreads(found: Mapping[str, Spread]) -> str:
    """Draw how the cosines of all word pairs are spread, one line a system; shares per bin."""
    with _settings():
        figure = Figure(figsize=(8.5, 3.2))
        axes = figure.subplots()
        for number, (name, spread) in enumerate(found.items()):
            # Twenty fine bins to one, or the line is noise.
            counts = spread.counts.reshape(-1, 20).sum(axis=1)
            edges = spread.edges[::20]
            colour = COLOURS[number % len(COLOURS)]
            axes.stairs(counts / spread.pairs, edges, color=colour, linewidth=1.4, label=name)
            axes.axvline(spread.mean, color=colour, linewidth=0.9, linestyle="--")
        axes.set_xlim(-1, 1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("cosine; dashed: mean")
        axes.set_ylabel("share of pairs")
        return _svg(figure)


def heat_map(found: Agreement) -> str:
    """Draw Spearman's correlation between systems as a square of colours with numbers."""
    with _settings():
        count = len(found.names)
        figure = Figure(figsize=(3.2 + 0.8 * count, 1.6 + 0.6 * count))
        axes = figure.subplots()
        image = axes.imshow(found.spearman, vmin=-1, vmax=1, cmap="RdBu")
        for row in range(count):
            for column in range(count):
                value = found.spearman[row, column]
                axes.text(
                    column,
                    row,
                    f"{value:.2f}",
                    ha="center",
                    va="center",
                    color="white" if abs(value) > 0.6 else "black",
                )
        axes.set_xticks(range(count), found.names, rotation=30, ha="right")
        axes.set_yticks(range(count), found.names)
        figure.colorbar(image, ax=axes, shrink=0.9)
        return _svg(figure)


@contextmanager
def _settings() -> Iterator[None]:
    with mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "decant",  # ids are random without it
            "text.parse_math": False,  # names of files may hold dollar signs
            "font.family": "sans-serif",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        yield


def _svg(figure: Figure) -> str:
    """Return a figure as an ``<svg>`` element, without the prologue of a file of its own."""
    held = io.StringIO()
    figure.savefig(held, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = held.getvalue()
    return text[text.index("<svg") :]
