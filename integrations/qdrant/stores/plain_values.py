"""Convert Python values to JSON, for metadata and for conditions on them.

Stores hold JSON. A date, a UUID, a path or a scalar of numpy becomes one JSON value, which is the
same on every machine, so that a document's digest does not depend on where it was read. Reading
returns the JSON value; the original type is not stored.
"""

from __future__ import annotations

from datetime import date
from pathlib import PurePath
from typing import TypeAlias
from uuid import UUID

import numpy as np

Scalar: TypeAlias = str | int | float | bool
Value: TypeAlias = Scalar | date | UUID | PurePath | np.generic
"""A value in a condition; a ``datetime`` is a ``date``, too."""

# Coarser units are written in a form that engines do not read as a time.
_UNITS = {"Y": "D", "M": "D", "W": "D", "h": "s", "m": "s"}


def plain(value: object) -> object:
    """Return the JSON value for a value; a value without one is returned unchanged.

    A date or a time becomes its ISO 8601 form, with its offset from UTC; without an offset it
    counts as UTC wherever times are compared. A UUID becomes its canonical form, a path has "/"
    between its parts, and a scalar of numpy becomes the Python number, string or boolean.

    >>> plain(date(2024, 1, 31)), plain(PurePath("notes", "a.md")), plain(np.float64(0.5))
    ('2024-01-31', 'notes/a.md', 0.5)
    """
    match value:
        case date():
            # The missing time of pandas is a datetime that does not equal itself.
            return value.isoformat() if value == value else value  # noqa: PLR0124
        case UUID():
            return str(value)
        case PurePath():
            return value.as_posix()
        case np.datetime64():
            return value if np.isnat(value) else str(value.astype(f"M8[{_unit(value)}]"))
        case np.timedelta64():
            return value  # its item() may lose the unit
        case np.generic():
            item: object = value.item()
            return item
        case _:
            return value


def _unit(value: np.datetime64) -> str:
    unit, _count = np.datetime_data(value)
    return _UNITS.get(unit, unit)
