"""Accept members of an enumeration by name, because people write ``pooling="last"``.

All other code compares members by identity, so fields must hold members and no strings.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import SupportsIndex, TypeVar

from .errors import DecantError

E = TypeVar("E", bound=StrEnum)


def member(kind: type[E], value: str, *, error: type[DecantError]) -> E:
    """Return the member that ``value`` is, or whose name it is.

    Args:
        kind: The enumeration.
        value: A member, or its name in lower case.
        error: What to raise.

    Raises:
        DecantError: Of class ``error``: no member has this name.

    >>> from decant.embedders import RecipeError, Role
    >>> member(Role, "query", error=RecipeError) is Role.QUERY
    True
    """
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(repr(str(item)) for item in kind)
        what = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()
        raise error(f"no {what} is called {value!r}; known are {known}") from None


def settle(
    record: object,
    kinds: Mapping[str, type[StrEnum]],
    integers: Sequence[str],
    *,
    error: type[DecantError],
) -> None:
    """Replace names by members, and numbers by integers, in the fields of a frozen record.

    None stays None.

    Args:
        record: The record, in its ``__post_init__``.
        kinds: The enumeration of each such field.
        integers: Fields that hold integers.
        error: What to raise.

    Raises:
        DecantError: No member has such a name, or a number is not an integer.
    """
    for name, kind in kinds.items():
        value = getattr(record, name)
        if value is not None:
            object.__setattr__(record, name, member(kind, value, error=error))
    for name in integers:
        value = getattr(record, name)
        if value is not None:
            object.__setattr__(record, name, _integer(name, value, error))


def _integer(name: str, value: object, error: type[DecantError]) -> int:
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        return operator.index(value)
    raise error(f"{name} must be an integer, got {value!r}")
