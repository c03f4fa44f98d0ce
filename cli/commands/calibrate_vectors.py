"""``decant calibrate-vectors``: measure the ranges that int8 and uint8 vectors of a bundle need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ..input.text_lines import texts_of
from ..input.wanted_files import TEXTS, existing
from ..options.shared import AnyDim, AsJson, BundlePath, CutDim, PrecisionName, Provider
from ..output.progress import bar
from ..output.quiet import silenced
from ..output.terminal import say, show_json


def calibrate_vectors(
    bundle: BundlePath,
    *,
    texts: Annotated[
        Path,
        typer.Option(
            metavar="FILE", callback=existing(TEXTS), dir_okay=False,
            help="Texts like those you will embed, one per line; the first 100,000 are used.",
        ),
    ],
    dim: CutDim = None,
    allow_any_dim: AnyDim = False,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Measure the range of each dimension, for vectors in int8 and uint8.

    Embeds texts as passages and writes the smallest and largest value of each
    dimension to the bundle, where `decant embed --quantize` and Python find
    them. Later, values outside are clipped, so use some thousand texts like
    those you will embed. Each --dim has its own ranges. Binary vectors need none.

    Examples:
      decant calibrate-vectors minilm --texts passages.txt
      decant calibrate-vectors qwen3 --texts passages.txt --dim 256
    """
    with (
        silenced(),
        texts_of(texts) as lines,
        bar("calibrating", total=None, unit="texts") as shown,
    ):
        from decant.embedders import calibrate_vectors as run

        def counted_lines() -> Iterator[str]:
            for number, text in enumerate(lines):
                shown.update(number)
                yield text

        found = run(
            bundle,
            counted_lines(),
            provider=provider,
            precision=precision,
            dim=dim,
            allow_any_dim=allow_any_dim,
        )
    if as_json:
        facts = {"bundle": str(bundle), "texts": found.texts, "dim": found.dim}
        show_json({**facts, "digest": found.digest})
        return
    say(f"{bundle} has the ranges of {found.dim} values, from {found.texts:,} texts")
