"""Write results to stdout and everything else to stderr.

Texts of users are never interpreted as markup and cannot send control codes to the terminal.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable
from functools import cache

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from decant.embedders.json_records import to_json
from decant.embedders.log_events import JsonFormatter

_LEVELS = {"warning": logging.WARNING, "error": logging.ERROR}


class _Results(Console):
    """A console that raises on a broken pipe, for our exit codes; rich would exit with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


# Wider than any line of ours, so that output for programs is never wrapped.
_UNBROKEN = 100_000


@cache
def results() -> Console:
    """Return the console on stdout, which has no width where it is not a terminal."""
    console = _Results(highlight=False)
    return console if console.is_terminal else _Results(highlight=False, width=_UNBROKEN)


@cache
def messages() -> Console:
    """Return the console on stderr, which progress and errors share."""
    return Console(stderr=True, highlight=False)


def show(what: RenderableType) -> None:
    """Print a result; outside a terminal, lines are not wrapped and have no trailing blanks."""
    console = results()
    if console.is_terminal:
        console.print(what, markup=False)
        return
    with console.capture() as captured:
        console.print(what, markup=False)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    sys.stdout.flush()


def show_lines(lines: Iterable[Text]) -> None:
    """Print any number of lines, each as it comes; on a terminal they are cut to its width."""
    console = results()
    for line in lines:
        if console.is_terminal:
            console.print(line, no_wrap=True, overflow="ellipsis")
        else:
            sys.stdout.write(f"{line.plain.rstrip()}\n")
    sys.stdout.flush()


def show_line(text: str) -> None:
    """Print a line that may be copied, without wrapping it."""
    results().print(Text(text), soft_wrap=True)


def show_json(value: object) -> None:
    """Print one JSON document, and nothing else, on stdout.

    Args:
        value: A dict, list or dataclass, as :func:`decant.embedders.to_json` takes it.
    """
    typer.echo(to_json(value).encode(), nl=False)  # JSON is UTF-8, whatever the terminal is


def say(text: str, *, label: str = "", style: str = "") -> None:
    """Print a message after a styled label; outside a terminal, lines are not wrapped.

    Where the log is lines of JSON, the message is one of them.
    """
    if logs_json():
        level = _LEVELS.get(label, logging.INFO)
        logging.getLogger("decant").log(level, "%s", printable(text))
        return
    line = Text.assemble((f"{label}: ", style), printable(text)) if label else Text(printable(text))
    messages().print(line, soft_wrap=not messages().is_terminal)


def logs_json() -> bool:
    """Return whether the log of decant is written as lines of JSON."""
    handlers = logging.getLogger("decant").handlers
    return any(isinstance(handler.formatter, JsonFormatter) for handler in handlers)


def tolerate_any_text() -> None:
    """Show characters that the terminal's encoding lacks as ``?`` instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def printable(text: str) -> str:
    """Return ``text`` with control characters replaced by blanks."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
