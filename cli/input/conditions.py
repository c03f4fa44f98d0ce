"""Read the conditions that ``--where`` and ``--source`` state.

Keys are those of ``metadata_keys.py``, but ``source``, which is the source of the document; a
metadata entry of that name is written in quotes.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from typing import TYPE_CHECKING

import typer

from .metadata_keys import read_key

if TYPE_CHECKING:
    from decant.integrations.qdrant import Condition

_STATED = re.compile(
    r'(?P<key>(?:"[^"]*"|[^"=<>!^])+?)(?P<sign>!=|>=|<=|\^=|=|>|<)(?P<value>.*)', re.DOTALL
)
_OPTION = "--where"
_SOURCE = "source"
_BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def read_condition(where: list[str], sources: list[str]) -> Condition | None:
    """Return the condition that all of ``where`` and one of ``sources`` state; None without any.

    Args:
        where: Each ``KEY=VALUE``, ``KEY!=VALUE``, ``KEY>VALUE``, ``KEY>=VALUE``, ``KEY<VALUE``,
            ``KEY<=VALUE`` or ``KEY^=PREFIX``.
        sources: Sources, of which one has to match.

    Raises:
        typer.BadParameter: One is none of these forms, its key is none, or an order is stated of no
            number or date.
    """
    from decant.integrations.qdrant import And, Field, FieldIn

    parts = [_read(text) for text in where]
    if sources:
        parts.append(FieldIn(Field.SOURCE, sources))
    return And(parts) if parts else None


def _read(text: str) -> Condition:
    from decant.integrations.qdrant import Equals, Not, Range, StartsWith

    if (found := _STATED.fullmatch(text)) is None:
        raise _wrong(f"{text!r} is not KEY=VALUE, nor KEY>=VALUE, KEY^=PREFIX and the like")
    typed, sign, value = found["key"], found["sign"], found["value"]
    if typed != typed.strip() or (sign == "=" and value[:1] in (">", "<", "=")):
        raise _wrong(f"{text!r}: write KEY=VALUE, KEY>=VALUE and the like, without spaces and '=='")
    if typed == _SOURCE:
        return _read_source(sign, value, text)
    key = read_key(typed, option=_OPTION)
    match sign:
        case "=":
            return Equals(key, _value(value))
        case "!=":
            return Not(Equals(key, _value(value)))
        case "^=" if value:
            return StartsWith(key, value)
        case "^=":
            raise _wrong(f"{text!r} states no prefix")
        case _:
            return Range(key, **{_BOUNDS[sign]: _bound(value, text)})


def _read_source(sign: str, value: str, text: str) -> Condition:
    from decant.integrations.qdrant import Field, FieldIn, Not, StartsWith

    typed = _value(value)
    name = typed if isinstance(typed, str) else value
    match sign:
        case "=":
            return FieldIn(Field.SOURCE, [name])
        case "!=":
            return Not(FieldIn(Field.SOURCE, [name]))
        case "^=" if name:
            return StartsWith(Field.SOURCE, name)
        case _:
            raise _wrong(
                f"{text!r}: the source of a document is text; write source=NAME, source!=NAME or "
                "source^=PREFIX, and '\"source\"' in quotes for a metadata entry of that name"
            )


def _bound(value: str, text: str) -> float | date:
    number = _value(value)
    if isinstance(number, int | float) and not isinstance(number, bool):
        return number
    for kind in (date, datetime):
        try:
            return kind.fromisoformat(value)
        except ValueError:
            continue
    raise _wrong(f"{text!r} compares with {value!r}, which is no number, date or time")


def _value(text: str) -> str | int | float | bool:
    """Read a JSON scalar; anything else is text as it stands."""
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value if isinstance(value, str | int | float | bool) else text


def _wrong(text: str) -> typer.BadParameter:
    return typer.BadParameter(text, param_hint=_OPTION)
