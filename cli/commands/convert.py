"""``decant convert``: add the graph of another precision to a bundle."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from decant.embedders import Certificate
from decant.embedders.bundle import convertible

from ..input.text_lines import texts_of
from ..input.wanted_files import TEXTS, existing
from ..options.shared import AsJson, BundlePath
from ..output.progress import steps
from ..output.quiet import silenced
from ..output.terminal import say, show_json
from ..output.views import show_certificate


def convert(
    bundle: BundlePath,
    precision: Annotated[str, typer.Argument(metavar="PRECISION", help="fp16, int8, w8 or w4.")],
    *,
    texts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", callback=existing(TEXTS), dir_okay=False,
            help="For int8: texts like those you will embed, one per line; else built-in texts.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Add the graph of another precision to a bundle, without PyTorch.

    int8 is fast on CPUs. The ranges of activations are measured on texts; if your
    texts are unusual, give some of them. w8 and w4 keep activations in float32
    and weights in 8 or 4 bits. fp16 is for GPUs. The new graph is certified on
    the CPU; if it loses too much accuracy, the bundle is not changed.

    Examples:
      decant convert minilm int8
      decant convert minilm int8 --texts passages.txt
    """
    wanted = convertible(precision)
    reading = nullcontext() if texts is None else texts_of(texts)
    with silenced(), reading as given, steps() as on_step:
        on_step("reading the bundle")
        from decant.export import convert as run

        certificate = run(bundle, wanted, texts=given, on_step=on_step)
    (entry,) = (item for item in certificate.measured[-1:])
    if as_json:
        show_json({"bundle": str(bundle), "passed": entry.passed, "entry": entry})
    else:
        empty = Certificate(format=certificate.format, digest=certificate.digest)
        show_certificate(empty.with_entry(entry))
        say(f"{bundle} has a graph in {precision}")
