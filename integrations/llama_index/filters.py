"""LlamaIndex metadata filters as conditions of decant.

A key means the metadata that nodes show (:class:`ShownMetadata`): an entry of that name, with dots
also a nested one; ``source`` is also the source of a chunk of :meth:`Collection.index`; and
``ref_doc_id``, ``doc_id`` and ``document_id``, which LlamaIndex uses in filters, are also
the id of the document that a node came from. ``!=`` and ``nin`` are the exact complements of ``==``
and ``in``. An operator that has no condition with the same meaning on every engine is an error;
none is approximated.
"""

from __future__ import annotations

from typing import TypeAlias

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from ..qdrant import And, Condition, Field, Not, Or, Range
from ..qdrant.stores.filters import Key
from ..shown import NOTHING, ShownField, ShownMetadata
from .nodes import NODE

Value = str | int | float
_Stated: TypeAlias = Condition | bool
"""A condition; True if all nodes meet it, False if none does."""

_DOCUMENT = ShownField(field=Field.SOURCE)
_SHOWN = ShownMetadata(
    fields={
        "source": ShownField(field=Field.SOURCE, unless=NODE),
        "ref_doc_id": _DOCUMENT,
        "doc_id": _DOCUMENT,
        "document_id": _DOCUMENT,
    }
)


def to_condition(filters: MetadataFilters | None) -> Condition | None:
    """Return the condition that ``filters`` state; None if every node meets them.

    Every node meets an empty filter and ``nin []``; no node meets ``in []``.

    Raises:
        ValueError: An operator has no counterpart, or its value is of the wrong kind.
        StoreError: A key leads into a list.
    """
    match None if filters is None else _group(filters):
        case None | True:
            return None
        case False:
            return NOTHING
        case condition:
            return condition


def _group(filters: MetadataFilters) -> _Stated | None:
    """Return the condition of a group; None for an empty group, which LlamaIndex ignores."""
    stated = [
        part
        for entry in filters.filters
        if (part := _group(entry) if isinstance(entry, MetadataFilters) else _one(entry))
        is not None
    ]
    if not stated:
        return None
    match filters.condition:
        case FilterCondition.OR:
            return _either(stated)
        case FilterCondition.NOT:
            return _not(_either(stated))
        case _:  # LlamaIndex reads a missing condition as AND
            return _all(stated)


def _either(stated: list[_Stated]) -> _Stated:
    if any(part is True for part in stated):
        return True
    parts = [part for part in stated if not isinstance(part, bool)]
    return Or(parts) if parts else False


def _all(stated: list[_Stated]) -> _Stated:
    if any(part is False for part in stated):
        return False
    parts = [part for part in stated if not isinstance(part, bool)]
    return And(parts) if parts else True


def _not(stated: _Stated) -> _Stated:
    return not stated if isinstance(stated, bool) else Not(stated)


def _one(entry: MetadataFilter) -> _Stated:
    key = entry.key
    match entry.operator:
        case (
            FilterOperator.EQ | FilterOperator.CONTAINS
        ):  # a list contains a value if one of its items equals the value
            return _SHOWN.any_of(key, [_scalar(entry)])
        case FilterOperator.NE:
            return Not(_SHOWN.any_of(key, [_scalar(entry)]))
        case FilterOperator.GT | FilterOperator.GTE | FilterOperator.LT | FilterOperator.LTE:
            return _range(entry)
        case FilterOperator.IN | FilterOperator.ANY:
            return _any_of(entry)
        case FilterOperator.NIN:
            return _not(_any_of(entry))
        case FilterOperator.ALL:
            if not (values := _list(entry)):
                raise _wrong(entry, "a list that is not empty")
            return And([_SHOWN.any_of(key, [value]) for value in values])
        case FilterOperator.IS_EMPTY:
            return Not(_SHOWN.exists(key))
        case _:
            raise ValueError(
                f"the operator {entry.operator.value!r} on {key!r} has no counterpart that means "
                "the same on every engine; pass a models.Filter of qdrant-client as where="
            )


def _any_of(entry: MetadataFilter) -> _Stated:
    values = _list(entry)
    return _SHOWN.any_of(entry.key, values) if values else False


def _range(entry: MetadataFilter) -> Condition:
    bound = entry.value
    if not isinstance(bound, int | float):
        raise _wrong(entry, "a number (for dates pass where=Range(key, gte=datetime.date(...)))")

    def within(key: Key) -> Condition:
        match entry.operator:
            case FilterOperator.GT:
                return Range(key, gt=bound)
            case FilterOperator.GTE:
                return Range(key, gte=bound)
            case FilterOperator.LT:
                return Range(key, lt=bound)
            case _:
                return Range(key, lte=bound)

    return _SHOWN.within(entry.key, within)


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
