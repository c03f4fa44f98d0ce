"""The unit in which a measure is shown.

Values are stored in the metric's own unit; only values shown to people are scaled.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never


class Unit(StrEnum):
    """The kind of a value, which determines how it is shown.

    FRACTION: a share or a correlation, shown x 100, as papers have them. COSINE: a cosine, or its
    deviation, shown as it is. NUMBER: anything else, such as a rank or a logarithm, shown as it is.
    """

    FRACTION = "fraction"
    COSINE = "cosine"
    NUMBER = "number"

    @property
    def factor(self) -> float:
        """The factor by which a value is multiplied to be shown."""
        return 100.0 if self is Unit.FRACTION else 1.0

    def shown(self, value: float, *, signed: bool = False) -> str:
        """Return a value as text, with its sign also where it is positive if ``signed``.

        >>> Unit.FRACTION.shown(0.8213), Unit.COSINE.shown(-0.05), Unit.NUMBER.shown(169.402)
        ('82.1', '-0.050', '169.40')
        """
        sign = "+" if signed else ""
        match self:
            case Unit.FRACTION:
                return f"{self.factor * value:{sign}.1f}"
            case Unit.COSINE:
                return f"{value:{sign}.3f}"
            case Unit.NUMBER:
                return f"{value:{sign},.2f}"
            case _:
                assert_never(self)
