"""Inspect filters of qdrant-client: whether they have a condition, and how deep they are nested.

They are read by the names of their attributes, so this file does not import qdrant-client: a caller
with such a filter has imported it already.
"""

from __future__ import annotations


def is_empty(given: object) -> bool:
    """Return whether this is a ``models.Filter`` that every point meets.

    It may be nested as deep as conditions may be (:func:`nesting`).
    """
    if type(given).__name__ != "Filter":
        return False  # other conditions of the client have content
    must, should, must_not = (
        _as_list(getattr(given, name)) for name in ("must", "should", "must_not")
    )
    if must_not or getattr(given, "min_should") is not None:  # noqa: B009
        return False
    demands_one = bool(should) and not any(is_empty(part) for part in should)
    return not demands_one and all(is_empty(part) for part in must)


def nesting(given: object, *, most: int) -> int:
    """Return how deep filters of the client are nested; at most ``most + 1`` is counted.

    Other objects do not count. This works without recursion, because filters may be nested deeper
    than Python's stack, or contain themselves.
    """
    level, here = 0, [given]
    while here and level <= most:
        inner = [part for one in here for part in _parts(one)]
        if not inner and not any(type(one).__name__ == "Filter" for one in here):
            break
        level, here = level + 1, inner
    return level


def _parts(given: object) -> list[object]:
    match type(given).__name__:
        case "Filter":
            names = ("must", "should", "must_not")
            parts = [part for name in names for part in _as_list(getattr(given, name))]
            least = getattr(given, "min_should")  # noqa: B009
            return parts if least is None else [*parts, *_as_list(least.conditions)]
        case "NestedCondition":
            return [getattr(given, "nested").filter]  # noqa: B009
        case _:
            return []


def _as_list(given: object) -> list[object]:
    if given is None:
        return []
    return given if isinstance(given, list) else [given]
