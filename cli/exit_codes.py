"""Exit codes of commands; errors become one message instead of a traceback."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from functools import wraps
from types import FrameType
from typing import ParamSpec

import typer

from decant.embedders import (
    BundleError,
    CollectionMismatch,
    DecantError,
    HubError,
    MissingExtra,
    ParityError,
    ProviderError,
    RecipeError,
    StoreError,
    TextError,
)

from .output.hints import in_commands
from .output.quiet import debugging, quiet
from .output.terminal import messages, say, tolerate_any_text

Parameters = ParamSpec("Parameters")


class Exit(IntEnum):
    """The exit codes of commands."""

    OK = 0
    FINDING = 1
    INPUT = 2
    ENVIRONMENT = 3
    BUG = 4
    INTERRUPTED = 130
    CLOSED = 141
    TERMINATED = 143


CODES = """\
Exit codes:
  0  done
  1  done, with a negative result: a certificate failed or is missing, the
     doctor found a problem, a file was not readable, a search has no hits, a
     check found something wrong, nothing matched a deletion, a server stopped
     before it had answered everything, or you answered no
  2  wrong usage or input: an option, a path that does not exist, a recipe, a
     bundle, a text, a collection that does not exist or has another model
  3  the environment: a provider, a missing package, a store, the disk, the
     network needed to get a model
  4  a bug in decant
130  interrupted
141  the reader of the output has closed it
143  terminated (SIGTERM)"""


class _Terminated(KeyboardInterrupt):
    """SIGTERM was received: the command stops as on Ctrl-C and deletes unfinished files."""


def guarded(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Return the command with its errors turned into messages and exit codes."""

    @wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        tolerate_any_text()
        with quiet(), _interruptible():
            try:
                command(*args, **kwargs)
            except (typer.Exit, typer.Abort):
                raise  # typer knows what to do
            except typer.BadParameter as error:
                if messages().is_terminal:
                    raise  # typer draws a box around it, which breaks lines
                say(error.format_message(), label="error", style="bold red")
                raise typer.Exit(Exit.INPUT) from error
            except BrokenPipeError:
                # The reader, `head` for example, has enough; Python must not flush to it again.
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                raise typer.Exit(Exit.CLOSED) from None
            except _Terminated:
                say("terminated; nothing is half-written, and running it again is safe")
                raise typer.Exit(Exit.TERMINATED) from None
            except KeyboardInterrupt:
                say("interrupted; nothing is half-written, and running it again is safe")
                raise typer.Exit(Exit.INTERRUPTED) from None
            except Exception as error:
                raise typer.Exit(_report(error)) from error

    return run


@contextmanager
def _interruptible() -> Iterator[None]:
    """Stop on the first Ctrl-C, which may take a while; exit at once on the second.

    Exiting at once is safe: files appear by renaming, and an index survives it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def second(_number: int, _frame: FrameType | None) -> None:
        os._exit(Exit.INTERRUPTED)

    def first(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, second)
        # Not through a console: the interrupted code may be writing to it.
        os.write(2, b"\nstopping; Ctrl-C again does not wait\n")
        raise KeyboardInterrupt

    def terminated(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the next one ends it hard
        raise _Terminated

    before = signal.signal(signal.SIGINT, first)
    until = signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, until)


def _report(error: Exception) -> Exit:
    """Print an error, and return its exit code."""
    code = code_of(error)
    if debugging() or code is Exit.BUG:
        messages().print("".join(traceback.format_exception(error)), markup=False, end="")
    if code is Exit.BUG:
        say(
            "this is a bug in decant; please report it with the lines above",
            label="error",
            style="bold red",
        )
        return code
    say(_sentence(error), label="error", style="bold red")
    return code


def code_of(error: Exception) -> Exit:
    """Return the exit code for an error."""
    match error:
        case ParityError():
            return Exit.FINDING
        case HubError():
            return Exit.ENVIRONMENT
        case RecipeError() | TextError() | BundleError() | CollectionMismatch():
            return Exit.INPUT
        case StoreError() if _is_input(error):
            return Exit.INPUT
        case FileNotFoundError() | NotADirectoryError() | IsADirectoryError():
            return Exit.INPUT  # a path that the user typed; our own files are not missing
        case ProviderError() | MissingExtra() | StoreError() | OSError():
            return Exit.ENVIRONMENT
        case DecantError():
            return Exit.INPUT
        case _:
            return Exit.BUG


def _is_input(error: StoreError) -> bool:
    from decant.integrations.qdrant import StoreInputError

    return isinstance(error, StoreInputError)


def _sentence(error: Exception) -> str:
    if not isinstance(error, OSError):
        return in_commands(str(error))
    reason = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{where}{reason} (`decant --debug …` shows where)"
