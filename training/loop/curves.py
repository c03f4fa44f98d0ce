"""Plot the log of a run: a file of its own, because it alone needs matplotlib."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

_NO_CURVES = {"step", "epoch", "learning_rate", "grad_norm"}


def draw_curves(log: Path, target: Path) -> None:
    """Draw each value of a log over the steps, one plot below the other, as SVG.

    Args:
        log: JSON lines, each with ``step`` and values.
        target: The file that is written.
    """
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    curves: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for name, value in line.items():
            if name not in _NO_CURVES:
                curves.setdefault(name, []).append((line["step"], value))
    if not curves:
        return
    with mpl.rc_context({"svg.hashsalt": "decant", "axes.spines.top": False}):
        figure = Figure(figsize=(7, 2.2 * len(curves)), layout="constrained")
        axes = figure.subplots(len(curves), squeeze=False)[:, 0]
        for axis, (name, points) in zip(axes, curves.items(), strict=True):
            axis.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else None)
            axis.set_ylabel(name)
            axis.grid(alpha=0.3)
        axes[-1].set_xlabel("step")
        figure.savefig(target, format="svg", metadata={"Date": None})
