"""Classes of commands: help shows flags without a type, and usage errors have no box.

Typer writes ``--json <bool>``; an empty metavar prevents it in every version. It is set
when the help is asked for, because ``--help`` itself is a flag that Typer adds. Contexts and
parameters are click's classes in some versions of Typer, and its own in others.
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
        """Parse the arguments; outside a terminal, an error is one line.

        Typer draws a box around it, which would break paths and hints into several lines.
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
    """A group of commands whose help shows flags without a type."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401 - see above
        """Return the parameters, ``--help`` included."""
        return _without_types(super().get_params(ctx))
