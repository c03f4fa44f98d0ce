"""LangChain's filters as conditions of decant: plain mappings, and dictionaries of operators.

The operators are those that LangChain's stores share (PGVector, Neo4j, Pinecone and others):
``$eq $ne $gt $gte $lt $lte $between $in $nin $exists`` of an entry, ``$and $or $not`` of filters.
Keys mean the metadata that documents show (:class:`ShownMetadata`). Invariant: a filter holds for
exactly the documents whose shown metadata it describes, so that ``$ne`` and ``$nin`` are the
complements of ``$eq`` and ``$in``; what has no such condition is an error, none is approximated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias, assert_never, cast

from decant.embedders import StoreError

from ..boolean_logic import Part, all_of, any_of, as_condition, negate
from ..qdrant import Field, Range
from ..qdrant.stores.plain_values import Value, plain
from ..shown import ShownField, ShownMetadata

if TYPE_CHECKING:
    from ..qdrant.stores.filters import Where

Filter: TypeAlias = "Where | Mapping[str, object]"
"""A condition, a ``models.Filter``, or a mapping of shown entries, all of which have to hold.

An entry holds if it equals the value, or meets the operators given for it: ``{"kind": "tree",
"year": {"$gte": 2020}}``. If an entry is a list, one item has to. A key with dots is the entry of
that name, or leads into nested ones. A mapping without entries is no filter.
"""

START = "start_index"
"""The shown entry that holds a chunk's place in its document."""

_SHOWN = ShownMetadata(
    fields={"source": ShownField(field=Field.SOURCE), START: ShownField(field=Field.START)}
)


class _Operator(StrEnum):
    """An operator of one entry."""

    EQ = "$eq"
    NE = "$ne"
    GT = "$gt"
    GTE = "$gte"
    LT = "$lt"
    LTE = "$lte"
    BETWEEN = "$between"
    IN = "$in"
    NIN = "$nin"
    EXISTS = "$exists"
    NOT = "$not"


class _Junction(StrEnum):
    """An operator of whole filters."""

    AND = "$and"
    OR = "$or"
    NOT = "$not"


_PATTERNS = frozenset({"$like", "$ilike"})


def to_condition(wanted: Filter | None) -> Where | None:
    """Return a filter in the collection's form; None if every document meets it.

    Every document meets ``{}`` and ``{"year": {"$nin": []}}``; no document meets ``{"year":
    {"$in": []}}``.

    Raises:
        StoreError: An operator is unknown or has a value of the wrong kind, a value cannot be
            compared, or a key leads into a list.
    """
    if not isinstance(wanted, Mapping):
        return wanted
    return as_condition(_all_entries(wanted))


def _all_entries(wanted: Mapping[str, object]) -> Part:
    parts: list[Part] = []
    for key, value in wanted.items():
        if not isinstance(key, str):
            raise StoreError(f"the keys of a filter are strings, got {key!r}")
        parts.append(_junction(key, value) if key.startswith("$") else _entry(key, value))
    return all_of(parts)


def _junction(name: str, operand: object) -> Part:
    if name not in {*_Junction}:
        raise StoreError(
            f"a filter has the key {name!r}, which joins no filters: {_listed(_Junction)} do, and "
            f"{_listed(_Operator)} stand under an entry, as in {{'year': {{'$gte': 2020}}}}; for "
            f"an entry of the name {name!r} pass the condition Equals({name!r}, ...)"
        )
    junction = _Junction(name)
    if junction is _Junction.NOT and not isinstance(operand, list | tuple):
        operand = [operand]
    if not isinstance(operand, list | tuple) or not operand:
        raise StoreError(
            f"{name!r} takes a list of filters, such as {{{name!r}: [{{'kind': 'tree'}}]}}, got "
            f"{operand!r}"
        )
    parts = [_inner(name, one) for one in operand]
    match junction:
        case _Junction.AND:
            return all_of(parts)
        case _Junction.OR:
            return any_of(parts)
        case _Junction.NOT:
            return negate(any_of(parts))
        case _:
            assert_never(junction)


def _inner(name: str, one: object) -> Part:
    if isinstance(one, Mapping):
        return _all_entries(one)
    if isinstance(one, bool):
        raise StoreError(f"{name!r} joins filters, and {one!r} is none; give a mapping")
    return cast("Part", one)  # a condition or a models.Filter; And, Or and Not refuse what is none


def _entry(key: str, value: object) -> Part:
    if not isinstance(value, Mapping):
        return _SHOWN.any_of(key, [cast("Value", value)])
    names = [name for name in value if isinstance(name, str) and name.startswith("$")]
    if not names:
        return _SHOWN.any_of(key, [cast("Value", value)])  # refused there, with its value
    if len(names) < len(value):
        raise StoreError(
            f"the filter of {key!r} mixes operators and plain keys: {dict(value)!r}; write an "
            f"entry inside {key!r} with a dot, as in {{'{key}.name': 'value'}}"
        )
    return all_of([_operation(key, name, value[name]) for name in names])


def _operation(key: str, name: str, operand: object) -> Part:
    operator = _operator(key, name)
    match operator:
        case _Operator.EQ:
            return _SHOWN.any_of(key, [_scalar(key, operator, operand)])
        case _Operator.NE:
            return negate(_SHOWN.any_of(key, [_scalar(key, operator, operand)]))
        case _Operator.GT | _Operator.GTE | _Operator.LT | _Operator.LTE:
            return _range(key, operator, {operator.value[1:]: operand})
        case _Operator.BETWEEN:
            return _range(key, operator, _bounds(key, operator, operand))
        case _Operator.IN:
            return _one_of(key, operator, operand)
        case _Operator.NIN:
            return negate(_one_of(key, operator, operand))
        case _Operator.EXISTS:
            return _exists(key, operator, operand)
        case _Operator.NOT:
            return _complement(key, operator, operand)
        case _:
            assert_never(operator)


def _exists(key: str, operator: _Operator, operand: object) -> Part:
    if not isinstance(operand, bool):
        raise _wrong(key, operator, "True or False", operand)
    there = _SHOWN.exists(key)
    return there if operand else negate(there)


def _complement(key: str, operator: _Operator, operand: object) -> Part:
    if not isinstance(operand, Mapping) or not operand:
        raise _wrong(key, operator, "operators, such as {'$gte': 2020}", operand)
    return negate(all_of([_operation(key, name, value) for name, value in operand.items()]))


def _bounds(key: str, operator: _Operator, operand: object) -> dict[str, object]:
    bounds = _several(key, operator, operand)
    if len(bounds) != 2:
        raise _wrong(key, operator, "a list of two bounds, the lower one first", operand)
    return {"gte": bounds[0], "lte": bounds[1]}


def _operator(key: str, name: object) -> _Operator:
    if name in _PATTERNS:
        raise StoreError(
            f"the operator {name!r} on {key!r} has no condition with its meaning, because no "
            "engine matches patterns; compare whole values with '$eq' or '$in', pass the condition "
            f"StartsWith({key!r}, ...) for how a value begins, or search the words of the texts "
            "with mode='words'"
        )
    if name not in {*_Operator}:
        raise StoreError(f"the filter of {key!r} has {name!r}; known are {_listed(_Operator)}")
    return _Operator(str(name))


def _one_of(key: str, operator: _Operator, operand: object) -> Part:
    values = [_scalar(key, operator, value) for value in _several(key, operator, operand)]
    return _SHOWN.any_of(key, values) if values else False


def _range(key: str, operator: _Operator, bounds: Mapping[str, object]) -> Part:
    if key in _SHOWN.fields:
        raise StoreError(
            f"{operator.value!r} cannot be used on {key!r}, which documents also show from a field "
            "of decant's own that has no ranges; for entries of the metadata alone pass the "
            f"condition Range({key!r}, ...)"
        )
    for bound in bounds.values():
        if isinstance(bound, str):
            raise _wrong(
                key,
                operator,
                "a number, a datetime.date or a datetime.datetime (strings would be compared "
                "letter by letter; write datetime.date.fromisoformat(...))",
                bound,
            )
        if isinstance(bound, bool) or not isinstance(plain(bound), int | float | str):
            raise _wrong(key, operator, "a number, a datetime.date or a datetime.datetime", bound)
    given = cast("Mapping[str, float | date]", bounds)
    return _SHOWN.within(key, lambda form: Range(form, **given))


def _scalar(key: str, operator: _Operator, value: object) -> Value:
    if value is None:
        wanted = "one value (for a missing entry or null write {'$exists': False})"
        raise _wrong(key, operator, wanted, value)
    if isinstance(value, list | tuple | set | frozenset | Mapping):
        raise _wrong(key, operator, "one value, not several", value)
    return cast("Value", value)


def _several(key: str, operator: _Operator, operand: object) -> list[object]:
    if isinstance(operand, str | bytes | Mapping) or not isinstance(operand, Iterable):
        raise _wrong(key, operator, "a list", operand)
    return list(operand)


def _wrong(key: str, operator: _Operator, wanted: str, given: object) -> StoreError:
    return StoreError(f"{operator.value!r} on {key!r} takes {wanted}, got {given!r}")


def _listed(names: type[StrEnum]) -> str:
    return ", ".join(names)
