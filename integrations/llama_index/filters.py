"""LlamaIndex metadata filters as conditions of ours.

An operator that has no condition with the same meaning on every engine is an error; none is
approximated.
"""

from __future__ import annotations

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from ..qdrant import All, AnyOf, Condition, Either, Equals, Exists, Not, Range

Value = str | int | float


def to_condition(filters: MetadataFilters | None) -> Condition | None:
    """Return the condition that ``filters`` state; None if they state nothing.

    Raises:
        ValueError: An operator has no counterpart, or its value is of the wrong kind.
    """
    if filters is None:
        return None
    parts = [
        part
        for entry in filters.filters
        if (part := to_condition(entry) if isinstance(entry, MetadataFilters) else _one(entry))
        is not None
    ]
    if not parts:
        return None
    match filters.condition:
        case FilterCondition.OR:
            return Either(parts)
        case FilterCondition.NOT:
            return Not(Either(parts))
        case _:  # LlamaIndex reads a missing condition as AND
            return All(parts)


def _one(entry: MetadataFilter) -> Condition:
    key = entry.key
    match entry.operator:
        case FilterOperator.EQ | FilterOperator.CONTAINS:  # a list contains what one item equals
            return Equals(key, _scalar(entry))
        case FilterOperator.NE:
            return Not(Equals(key, _scalar(entry)))
        case FilterOperator.GT | FilterOperator.GTE | FilterOperator.LT | FilterOperator.LTE:
            return _range(entry)
        case FilterOperator.IN | FilterOperator.ANY:
            return AnyOf(key, _list(entry))
        case FilterOperator.NIN:
            return Not(AnyOf(key, _list(entry)))
        case FilterOperator.ALL:
            return All([Equals(key, value) for value in _list(entry)])
        case FilterOperator.IS_EMPTY:
            return Not(Exists(key))
        case _:
            raise ValueError(
                f"the operator {entry.operator.value!r} on {key!r} has no counterpart that means "
                "the same on every engine; pass a models.Filter of qdrant-client as where="
            )


def _range(entry: MetadataFilter) -> Range:
    if not isinstance(entry.value, int | float):
        raise _wrong(entry, "a number")
    match entry.operator:
        case FilterOperator.GT:
            return Range(entry.key, gt=entry.value)
        case FilterOperator.GTE:
            return Range(entry.key, gte=entry.value)
        case FilterOperator.LT:
            return Range(entry.key, lt=entry.value)
        case _:
            return Range(entry.key, lte=entry.value)


def _scalar(entry: MetadataFilter) -> Value:
    if isinstance(entry.value, str | int | float):
        return entry.value
    raise _wrong(entry, "one string or number")


def _list(entry: MetadataFilter) -> list[Value]:
    if isinstance(entry.value, list):
        return [*entry.value]
    raise _wrong(entry, "a list")


def _wrong(entry: MetadataFilter, wanted: str) -> ValueError:
    return ValueError(
        f"the operator {entry.operator.value!r} on {entry.key!r} needs {wanted}, "
        f"got {entry.value!r}"
    )
