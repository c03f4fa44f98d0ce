"""LlamaIndex metadata filters as conditions of decant.

A key means the metadata that nodes show (:class:`ShownMetadata`): an entry of that name, with dots
also a nested one; ``source`` is also the source of a chunk of :meth:`Collection.index`; and
``ref_doc_id``, ``doc_id`` and ``document_id``, which LlamaIndex uses in filters, are also
the id of the document that a node came from. ``!=`` and ``nin`` are the exact complements of ``==``
and ``in``. An operator that has no condition with the same meaning on every engine is an error;
none is approximated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from ..boolean_logic import Part, all_of, any_of, as_condition, negate
from ..qdrant import And, Condition, Field, Not, Range
from ..qdrant.stores.filters import Key
from ..shown import ShownField, ShownMetadata
from .nodes import NODE

if TYPE_CHECKING:
    from ..qdrant.stores.filters import Where

Value = str | int | float

_DOCUMENT = ShownField(field=Field.SOURCE)
_SHOWN = ShownMetadata(
    fields={
        "source": ShownField(field=Field.SOURCE, unless=NODE),
        "ref_doc_id": _DOCUMENT,
        "doc_id": _DOCUMENT,
        "document_id": _DOCUMENT,
    }
)


def to_condition(filters: MetadataFilters | None) -> Where | None:
    """Return the condition that ``filters`` state; None if every node meets them.

    Every node meets an empty filter and ``nin []``; no node meets ``in []``.

    Raises:
        ValueError: An operator has no counterpart, or its value is of the wrong kind.
        StoreError: A key leads into a list.
    """
    group = None if filters is None else _group(filters)
    return None if group is None else as_condition(group)


def _group(filters: MetadataFilters) -> Part | None:
    """Return the condition of a group; None for an empty group, which LlamaIndex ignores."""
    parts = [
        part
        for entry in filters.filters
        if (part := _group(entry) if isinstance(entry, MetadataFilters) else _one(entry))
        is not None
    ]
    if not parts:
        return None
    match filters.condition:
        case FilterCondition.OR:
            return any_of(parts)
        case FilterCondition.NOT:
            return negate(any_of(parts))
        case _:  # LlamaIndex reads a missing condition as AND
            return all_of(parts)


def _one(entry: MetadataFilter) -> Part:
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
            return negate(_any_of(entry))
        case FilterOperator.ALL:
            if not (values := _list(entry)):
                raise _wrong(entry, "a list that is not empty")
            return And([_SHOWN.any_of(key, [value]) for value in values])
        case FilterOperator.IS_EMPTY:
            return Not(_SHOWN.exists(key))
        case _:
            raise ValueError(
                f"the operator {entry.operator.value!r} on {key!r} has no counterpart that means "
                "the same on every engine: where an entry has a text index, Qdrant compares words, "
                "and elsewhere parts of words. Compare whole values with '==' or 'in', search the "
                "texts of nodes in the mode 'text_search', or pass a models.Filter of "
                "qdrant-client as where="
            )


def _any_of(entry: MetadataFilter) -> Part:
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
