"""The classes of our commands: flags without a type in the help, and wrong usage without a box.

Typer writes ``--json <bool>``; an empty metavar is what tells it otherwise, whichever version it is
of. It is set when the help is asked for, because ``--help`` itself is a flag that Typer adds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias, cast

import typer
from typer.core import TyperCommand, TyperGroup

from ..exit_codes import Exit
from ..output.terminal import messages, say

if TYPE_CHECKING:
    from typer.core import TyperArgument, TyperOption

    Parameter: TypeAlias = TyperArgument | TyperOption


def _without_types(parameters: Iterable[object]) -> list[Parameter]:
    """Return the parameters; flags among them get an empty metavar, unless they have one."""
    found = cast("list[Parameter]", list(parameters))
    for one in found:
        if getattr(one, "is_flag", False) and getattr(one, "metavar", None) is None:
            one.metavar = ""
    return found


class Command(TyperCommand):
    """A command whose help shows flags without a type."""

    # Typer 0.2x has click within itself, older ones take it from outside.
    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
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

    def get_params(self, ctx: typer.Context) -> list[Parameter]:  # type: ignore[override]
        """Return the parameters, ``--help`` included."""
        return _without_types(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands, likewise."""

    def get_params(self, ctx: typer.Context) -> list[Parameter]:  # type: ignore[override]
        """Return the parameters, ``--help`` included."""
        return _without_types(super().get_params(ctx))
