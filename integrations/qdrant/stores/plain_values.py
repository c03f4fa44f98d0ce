"""Which JSON stands for Python's own values, in metadata and in conditions on them.

Stores hold JSON. A date, a UUID, a path or a scalar of numpy becomes one JSON value, on every
machine the same, so that a document's digest does not depend on where it was read. It comes back
as that value: what it was before is not remembered.
"""

from __future__ import annotations

from datetime import date
from pathlib import PurePath
from typing import TypeAlias
from uuid import UUID

import numpy as np

Scalar: TypeAlias = str | int | float | bool
Value: TypeAlias = Scalar | date | UUID | PurePath | np.generic
"""What a condition compares with; a ``datetime`` is a ``date``, too."""

# Coarser ones are written in a form that engines do not read as a time.
_UNITS = {"Y": "D", "M": "D", "W": "D", "h": "s", "m": "s"}


def plain(value: object) -> object:
    """Return the JSON value that stands for a value; what has none comes back as it is.

    A date or a time becomes its ISO 8601 form, with the offset from UTC that it has; without one
    it counts as UTC wherever times are compared. A UUID becomes its canonical form, a path has "/"
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
            return value  # its item() may be a number without its unit
        case np.generic():
            item: object = value.item()
            return item
        case _:
            return value


def _unit(value: np.datetime64) -> str:
    unit, _count = np.datetime_data(value)
    return _UNITS.get(unit, unit)
