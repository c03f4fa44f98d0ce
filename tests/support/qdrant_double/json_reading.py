"""Read JSON as the server does: floats may be one unit in the last place off, depth is bounded.

The server's parser, serde_json without ``float_roundtrip``, multiplies the digits, as one integer,
by a power of ten, and each of the two steps rounds.
"""

from __future__ import annotations

import json
import re
from typing import Any

from .answers import Refused

_DEPTH = 127
_PARTS = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?")
_LARGEST_POWER = 308


def read_json(body: bytes) -> Any:
    """Return what a body holds.

    Raises:
        Refused: It is no JSON, or too deep; without the position that a server names.
    """
    text = body.decode()
    _check_depth(text)
    try:
        return json.loads(text, parse_float=read_float)
    except json.JSONDecodeError as error:
        raise Refused(
            400,
            f"Format error in JSON body: key must be a string at line {error.lineno} "
            f"column {error.colno}",
        ) from error


def read_float(digits: str) -> float:
    """Return the number that the server reads from these digits."""
    parts = _PARTS.fullmatch(digits)
    assert parts is not None
    sign, whole, fraction, exponent = parts[1], parts[2], parts[3] or "", int(parts[4] or 0)
    significand = int(whole + fraction)
    power = exponent - len(fraction)
    if significand >= 2**64 or abs(power) > _LARGEST_POWER:
        return float(digits)
    number = float(significand)
    number = number * 10.0**power if power >= 0 else number / 10.0**-power
    return -number if sign else number


def _check_depth(text: str) -> None:
    if text.count("{") + text.count("[") <= _DEPTH:
        return
    depth = 0
    for match in re.finditer(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', text):
        if match[0] in "[{":
            depth += 1
        elif match[0] in "]}":
            depth -= 1
        if depth > _DEPTH:
            column = match.end()
            raise Refused(
                400,
                f"Format error in JSON body: recursion limit exceeded at line 1 column {column}",
            )
