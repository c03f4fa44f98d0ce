"""``decant embed``: turn texts into vectors, in bounded memory."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from decant.embedders import Role

from ...input.open import open_encoder
from ...input.text_lines import Line, read_lines
from ...input.wanted_files import TEXTS
from ...options.shared import (
    AnyDim,
    BundlePlace,
    CutDim,
    JsonLines,
    PrecisionName,
    Provider,
    SkipEmpty,
)
from ...output.progress import Bar, bar
from ...output.terminal import say
from ...output.views import duration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from decant.embedders import OnnxEncoder, RemoteEncoder, Vectors

    from .vector_files import Rows, VectorWriter

    Finish = Callable[[NDArray[np.float32]], Rows]
    Stream = Callable[..., Iterator[Vectors]]

_STANDARD = "-"


def embed(
    bundle: BundlePlace,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Texts, one per line; - is standard input.")
    ] = _STANDARD,
    *,
    role: Annotated[
        Role, typer.Option(metavar="ROLE", help="query or passage, which selects the prompt.")
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="vectors.npy: one row per text, float32 unless quantised. vectors.jsonl, or - for "
            "standard output: one JSON object per text.",
        ),
    ] = _STANDARD,
    jsonl: JsonLines = False,
    skip_empty: SkipEmpty = False,
    instruction: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="The task of the queries, for models that take an instruction."
        ),
    ] = None,
    quantize: Annotated[
        str | None,
        typer.Option(
            metavar="KIND", help="int8, uint8 (after `decant calibrate-vectors`) or ubinary."
        ),
    ] = None,
    provider: Provider = "auto",
    precision: PrecisionName = "auto",
    dim: CutDim = None,
    allow_any_dim: AnyDim = False,
) -> None:
    """Turn texts into vectors, one text per line.

    Lines are embedded unchanged. Input of any length is read and written in
    blocks, and the file of --output appears whole or not at all.

    Examples:
      decant embed minilm titles.txt --role passage --output titles.npy
      echo "who approves a PEP?" | decant embed minilm --role query
      decant embed minilm docs.jsonl --jsonl --role passage -o vectors.jsonl
      decant embed minilm titles.txt --role passage --quantize ubinary -o bits.npy
      decant embed http://encoder:6900 titles.txt --role passage -o titles.npy
    """
    _check(file, output)
    # JSON lines and a bar on the same screen would overwrite each other.
    hidden = output == _STANDARD and sys.stdout.isatty()
    with (
        _input(file) as given,
        open_encoder(
            bundle, provider=provider, precision=precision, dim=dim, allow_any_dim=allow_any_dim
        ) as encoder,
    ):
        finish = _finish(encoder, quantize)
        nothing = encoder.encode([], role=role, instruction=instruction).dense
        with (
            _writer(output, finish(nothing)) as writer,
            bar("embedding", total=_count(file), unit="texts", hidden=hidden) as shown,
        ):
            lines = read_lines(given, jsonl=jsonl, skip_empty=skip_empty)
            stream = partial(encoder.stream, role=role, instruction=instruction)
            done = _embed(lines, stream, finish, writer, shown)
    kind = "" if quantize is None else f" as {quantize}"
    say(f"{done:,} texts, {encoder.dim} wide{kind}, in {duration(shown.seconds)}")


def _check(file: str, output: str) -> None:
    """Refuse what cannot work before a model is loaded."""
    if file != _STANDARD and not Path(file).exists():
        raise typer.BadParameter(f"{file} does not exist; give {TEXTS}", param_hint="FILE")
    if output == _STANDARD:
        return
    if Path(output).suffix not in (".npy", ".jsonl"):
        raise typer.BadParameter(f"{output} must end with .npy or .jsonl", param_hint="-o")
    if not Path(output).absolute().parent.is_dir():
        raise typer.BadParameter(f"the folder of {output} does not exist", param_hint="-o")


def _finish(encoder: OnnxEncoder | RemoteEncoder, quantize: str | None) -> Finish:
    """Return the function that turns vectors into rows of the file."""
    return (lambda vectors: vectors) if quantize is None else encoder.quantizer(quantize).quantize


def _embed(
    lines: Iterator[Line],
    stream: Stream,
    finish: Finish,
    writer: VectorWriter,
    shown: Bar,
) -> int:
    done = 0

    def update(finished: int) -> None:
        nonlocal done
        done += finished
        shown.update(done, f"{done / max(shown.seconds, 1e-9):,.0f}/s")

    underway: deque[Line] = deque()

    def texts() -> Iterator[str]:
        for line in lines:
            underway.append(line)
            yield line.text

    for block in stream(texts(), progress=update):
        writer.write([underway.popleft() for _ in range(len(block))], finish(block.dense))
    writer.finish()
    return done


@contextmanager
def _input(file: str) -> Iterator[IO[bytes]]:
    if file == _STANDARD:
        if sys.stdin.isatty():
            say("reading texts from the keyboard, one per line; Ctrl-D ends the input")
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as stream:
        yield stream


@contextmanager
def _writer(output: str, rows: Rows) -> Iterator[VectorWriter]:
    """Yield a writer of rows with the width and type of an array without rows."""
    from .vector_files import JsonlWriter, NpyWriter, open_atomically

    if output == _STANDARD:
        yield JsonlWriter(sys.stdout.buffer)
        return
    with open_atomically(Path(output)) as stream:
        if output.endswith(".jsonl"):
            yield JsonlWriter(stream)
        else:
            yield NpyWriter(stream, rows.shape[1], dtype=rows.dtype)


def _count(file: str) -> int | None:
    """Return the number of lines of a file; None for standard input."""
    if file == _STANDARD or not Path(file).is_file():
        return None
    with Path(file).open("rb") as stream:
        return sum(1 for _ in stream)
