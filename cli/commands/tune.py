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
    from decant.embedders import OnStep
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
    certify: Annotated[
        bool,
        typer.Option(
            "--certify",
            help="First certify what auto may take and has no certificate yet: bf16 on OpenVINO …",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Find what encodes a bundle fastest on this machine, and keep it there.

    Compares all that `auto` may take: each provider and precision that is
    installed, certified and near enough to fp32. Of each it tries ways to divide
    the cores between batches, then batch sizes, on texts like those you will
    embed. The fastest on batches is what is loaded on this machine from then on,
    if it is clearly faster, and so are its settings. Settings do not change
    vectors; another precision does, a little. With --provider or --precision only
    settings are tried. Run nothing else on the machine meanwhile.

    At the end, on CPUs, the matrix products of the model's shapes run alone, in
    the fastest library that is installed, and the last line says what share of
    their speed encoding reaches.

    Examples:
      decant tune minilm
      decant tune minilm --certify
      decant tune minilm --texts passages.txt --precision int8
    """
    reading = nullcontext() if texts is None else texts_of(texts)
    with silenced(), reading as given, steps(keep=False) as on_step:
        on_step("reading the bundle")
        from decant.embedders import tune as run

        if certify:
            _certify(bundle, on_step)
        report = run(bundle, provider=provider, precision=precision, texts=given, on_step=on_step)
    if as_json:
        show_json({"bundle": str(bundle), "report": report})
        return
    show(_trials(report))
    if report.speeds:
        show(_speeds(report))
    say(f"{bundle} in {report.precision} on {report.provider} keeps {described(report.kept)}")
    if report.choice is not None:
        say(f"{bundle} is loaded here as {report.choice}")
    no_ceiling = f"this machine's ceiling was not measured: {report.no_ceiling}"
    say(no_ceiling if report.ceiling is None else str(report.ceiling))


def _certify(bundle: Path, on_step: OnStep) -> None:
    """Certify what could run and has no certificate; what does not start is named and left out."""
    from decant.embedders import Bundle, ProviderError
    from decant.embedders.onnx import Cause, rank_choices
    from decant.export import verify

    for one in rank_choices(Bundle.open(bundle)).choices[0].rejected:
        if one.cause is Cause.NOT_CERTIFIED:
            try:
                verify(bundle, provider=one.provider, precision=one.precision, on_step=on_step)
            except ProviderError as error:
                say(f"{one.precision} on {one.provider} is left out: {error}", label="note")


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


def _speeds(report: TuningReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("compared")
    for name in ("tokens/s", "x", "ms a lone text"):
        table.add_column(name, justify="right")
    table.add_column("", overflow="fold")
    for speed in report.speeds:
        alone = "–" if speed.lone_milliseconds is None else f"{speed.lone_milliseconds:.1f}"
        table.add_row(
            f"{speed.precision} on {speed.provider}",
            f"{speed.tokens_per_second:,.0f}",
            f"{speed.speedup:.2f}",
            alone,
            speed.failure,
        )
    return table
