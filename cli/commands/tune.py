"""``decant tune``: find the fastest settings for a bundle on this machine."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from ..input.text_lines import texts_of
from ..input.wanted_files import TEXTS, existing
from ..options.shared import AsJson, BundlePath, PrecisionName, Provider
from ..output.progress import steps
from ..output.quiet import silenced
from ..output.terminal import say, show, show_json

if TYPE_CHECKING:
    from decant.embedders.onnx import Tuned, TuningReport


def tune(
    bundle: BundlePath,
    *,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    texts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", callback=existing(TEXTS), dir_okay=False,
            help="Texts like those you will embed, one per line; by default, generated texts.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Find the fastest settings for a bundle on this machine, and keep them in it.

    Tries ways to divide the cores between batches, then batch sizes, on texts
    like those you will embed. Settings that are clearly faster than the defaults
    are written to the bundle and used whenever it is loaded on this machine.
    Vectors stay the same. Run nothing else on the machine meanwhile.

    At the end, on CPUs, the matrix products of the model's shapes run alone, in
    the fastest library that is installed, and the last line says what share of
    their speed encoding reaches.

    Examples:
      decant tune minilm
      decant tune minilm --texts passages.txt --precision int8
    """
    reading = nullcontext() if texts is None else texts_of(texts)
    with silenced(), reading as given, steps(keep=False) as on_step:
        on_step("reading the bundle")
        from decant.embedders import tune as run

        report = run(bundle, provider=provider, precision=precision, texts=given, on_step=on_step)
    if as_json:
        show_json({"bundle": str(bundle), "report": report})
        return
    show(_trials(report))
    say(f"{bundle} in {report.precision} keeps {described(report.kept)}")
    no_ceiling = f"this machine's ceiling was not measured: {report.no_ceiling}"
    say(no_ceiling if report.ceiling is None else str(report.ceiling))


def described(entry: Tuned) -> str:
    """Return the settings that were kept, and their gain, in one line."""
    match entry.over_default:
        case None:
            gain = "where the defaults do not run"
        case 1:
            gain = "the defaults"
        case over:
            gain = f"{over:.2f} x the defaults"
    return (
        f"{entry.settled()}: {entry.tokens_per_second:,.0f} tokens/s, {gain} "
        f"({entry.machine}; {entry.workload})"
    )


def _trials(report: TuningReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("workers", "threads", "tokens a batch", "tokens/s"):
        table.add_column(name, justify="right")
    table.add_column("", overflow="fold")
    for trial in report.trials:
        tried = trial.settings
        numbers = (tried.workers, tried.threads, tried.token_budget, trial.tokens_per_second)
        table.add_row(*(f"{number:,.0f}" for number in numbers), trial.failure)
    return table
