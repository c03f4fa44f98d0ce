"""Refuse arguments that would be dropped or misread: of its own, as all frameworks need it."""

from __future__ import annotations

from collections.abc import Mapping


def refuse_unknown(kwargs: Mapping[str, object], call: str) -> None:
    """Refuse unknown keyword arguments.

    Raises:
        TypeError: There are some; the message names them.
    """
    if kwargs:
        raise TypeError(f"{call} does not know {', '.join(kwargs)}")


def check_ids(ids: object, call: str) -> None:
    """Refuse one string in place of several ids: its letters would be read as ids.

    Raises:
        TypeError: ``ids`` is a string.
    """
    if isinstance(ids, str):
        raise TypeError(f"{call} takes a list of ids, got the string {ids!r}; write [{ids!r}]")
