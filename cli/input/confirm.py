"""Ask before what is hard to take back: a file of its own, shared by `drop`, `delete`, `migrate`.

Where nobody can be asked, ``--yes`` must have been given.
"""

from __future__ import annotations

import sys

import typer


def confirm(question: str, *, yes: bool, action: str = "delete it") -> None:
    """Return if the answer is yes.

    Args:
        question: The question, which is written to stderr.
        yes: Whether the command line answers it already.
        action: What is asked, for the message where nobody can be.

    Raises:
        Abort: The answer is no.
        BadParameter: Nobody can be asked, because stdin is not a terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            f"nobody can be asked here whether to {action}; pass --yes", param_hint="--yes"
        )
    typer.confirm(question, abort=True, err=True)
