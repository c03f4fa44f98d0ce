"""Read a duration such as ``7d`` or ``12h`` of the command line: a file of its own, for tests."""

from __future__ import annotations

import re
from datetime import timedelta

import typer

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def read_duration(text: str, *, option: str) -> timedelta:
    """Return the duration of a whole number with its unit.

    >>> read_duration("7d", option="--keep")
    datetime.timedelta(days=7)

    Raises:
        BadParameter: It is something else; the message shows what is right.
    """
    found = re.fullmatch(r"(\d{1,6})([dhms])", text.strip())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no duration; write a whole number with d, h, m or s, such as 7d or 12h",
            param_hint=option,
        )
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
