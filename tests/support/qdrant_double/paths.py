"""Paths into a payload: read them, and show them as the server does.

The server quotes a name only where a character is no letter of any alphabet, digit, ``_`` or
``-``, so that a path may come back in another spelling than it went.
"""

from __future__ import annotations

import re

from .answers import Refused

_STEP = re.compile(r'("[^"]*"|[\w-]+)((?:\[\d*\])*)')


def names_of(path: str) -> tuple[str, ...]:
    """Return the names on a path, with the brackets after them.

    Raises:
        Refused: It is no path.
    """
    names, position = [], 0
    while True:
        step = _STEP.match(path, position)
        if step is None:
            raise bad_path(path)
        names.append(step[1].strip('"') + step[2])
        position = step.end()
        if position == len(path):
            return tuple(names)
        if path[position] != ".":
            raise bad_path(path)
        position += 1


def bad_path(path: str) -> Refused:
    """Return the refusal of a path; the recorded server adds the line and the column."""
    return Refused(
        400, f"Format error in JSON body: Invalid json path: '{path}' at line 1 column 1"
    )


def displayed(path: str) -> str:
    """Return a path as the server's ``payload_schema`` shows it."""
    return ".".join(_displayed(name) for name in names_of(path))


def _displayed(name: str) -> str:
    plain, brackets = re.fullmatch(r"(.*?)((?:\[\d*\])*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    is_plain = plain and all(character.isalnum() or character in "_-" for character in plain)
    return f"{plain if is_plain else f'{chr(34)}{plain}{chr(34)}'}{brackets}"
