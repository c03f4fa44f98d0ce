"""Read the keys of metadata entries, as all options of the command line write them.

A key is written as in Qdrant's payload paths: ``year``, ``author.name`` for a nested entry, and
``"a.b"`` in quotes for an entry whose own name contains a dot. In a shell these quotes need others
around them: ``--where '"a.b"=1'``.
"""

from __future__ import annotations

import re

import typer

_NAME = r'"[^"]+"|[^".]+'
KEY = rf"(?:{_NAME})(?:\.(?:{_NAME}))*"
"""A regular expression that matches a whole key."""


def read_key(text: str, *, option: str) -> str | tuple[str, ...]:
    """Return a key as conditions and boosts take it.

    Args:
        text: The key as it was typed.
        option: The option in which it stands, for messages.

    Raises:
        typer.BadParameter: It is no key.

    >>> read_key("year", option="--where"), read_key("author.name", option="--where")
    ('year', ('author', 'name'))
    >>> read_key('"a.b"', option="--where")
    'a.b'
    """
    if not re.fullmatch(KEY, text):
        raise typer.BadParameter(
            f"{text!r} is no key of a metadata entry; write author.name for a nested entry, and "
            "quotes around a name that contains a dot, as in '\"a.b\"'",
            param_hint=option,
        )
    names = tuple(name.strip('"') for name in re.findall(_NAME, text))
    return names[0] if len(names) == 1 else names
