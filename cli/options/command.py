"""The classes of our commands: flags without a type in the help, and wrong usage without a box.

Typer writes ``--json <bool>``; an empty metavar is what tells it otherwise, whichever version it is
of. It is set when the help is asked for, because ``--help`` itself is a flag that Typer adds.
Contexts and parameters are click's classes in some versions of Typer, and its own in others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from ..exit_codes import Exit
from ..output.terminal import messages, say

Parameter = TypeVar("Parameter")


def _without_types(parameters: Iterable[Parameter]) -> list[Parameter]:
    """Return the parameters; flags among them get an empty metavar, unless they have one."""
    found = list(parameters)
    for one in found:
        if getattr(one, "is_flag", False) and getattr(one, "metavar", None) is None:
            one.metavar = ""  # type: ignore[attr-defined]
    return found


class Command(TyperCommand):
    """A command whose help shows flags without a type."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - see above
        """Read the arguments; a pipe is told in one line what is wrong with them.

        Typer draws a box around it, which breaks paths and hints at the width of a terminal.
        """
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if messages().is_terminal:
                raise
            hint = f"`{ctx.command_path} --help` shows all options"
            say(f"{error.format_message()}; {hint}", label="error", style="bold red")
            raise typer.Exit(Exit.INPUT) from error

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - see above
        """Return the parameters, ``--help`` included."""
        return _without_types(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands, likewise."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - see above
        """Return the parameters, ``--help`` included."""
        return _without_types(super().get_params(ctx))
