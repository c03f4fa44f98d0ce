"""``decant convert``: add the graph of another precision to a bundle."""

from __future__ import annotations

from typing import Annotated

import typer

from decant.embedders import Certificate

from .options import AsJson, BundlePath
from .progress import steps
from .quiet import silenced
from .terminal import say, show_json
from .views import show_certificate


def convert(
    bundle: BundlePath,
    precision: Annotated[str, typer.Argument(metavar="PRECISION", help="fp16, int8, w8 or w4.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Add the graph of another precision to a bundle, without PyTorch.

    int8 is the fast one on CPUs. w8 and w4 keep states in float32 and weights
    in 8 or 4 bits. fp16 is for GPUs. The new graph is certified on the CPU; if
    it loses too much, the bundle stays as it was.

    Examples:
      decant convert minilm int8
    """
    with silenced(), steps() as step:
        step("reading the bundle")
        from decant.export import convert as run

        certificate = run(bundle, precision, step=step)
    (entry,) = (item for item in certificate.entries[-1:])
    if as_json:
        show_json({"bundle": str(bundle), "passed": entry.passed, "entry": entry})
    else:
        show_certificate(
            Certificate(format=certificate.format, digest=certificate.digest, entries=(entry,))
        )
        say(f"{bundle} has a graph in {precision}")
