"""Ask before something is deleted; where nobody can be asked, it must have been said."""

from __future__ import annotations

import sys

import typer


def confirm(question: str, *, yes: bool) -> None:
    """Return if the answer is yes.

    Args:
        question: What is asked, on stderr.
        yes: Whether that was answered on the command line.

    Raises:
        Abort: The answer is no.
        BadParameter: Nobody can be asked, because stdin is not a terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            "nobody can be asked here whether to delete it; pass --yes", param_hint="--yes"
        )
    typer.confirm(question, abort=True, err=True)
