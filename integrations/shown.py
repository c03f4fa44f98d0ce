"""Conditions on metadata as a framework shows them, which can differ from the stored metadata.

A framework shows some of our own fields as entries of the metadata (``source`` holds the source of
a chunk), and its users write nested entries with dots. Invariant: a condition made here
holds for exactly the passages whose shown metadata it describes. So its :class:`Not` is the exact
complement, and each shown entry can be used to filter and to delete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from decant.embedders import StoreError

from .qdrant import And, Condition, Equals, Exists, Field, FieldIn, In, Not, Or, Passage
from .qdrant.stores.filters import Key
from .qdrant.stores.plain_values import Value

NOTHING: Condition = FieldIn(Field.KIND, ["nothing"])
"""The condition that no passage meets."""

_CHUNK = FieldIn(Field.KIND, ["chunk"])

# Qdrant's paths into arrays, such as tags[].name and tags[0]; see "payload paths" in its filters.
_ARRAY = re.compile(r"\[\d*\](\.|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownField:
    """One of our own fields that is shown as an entry of the metadata.

    Args:
        field: The field. An empty field is not shown, and the start is shown for chunks only.
        unless: A passage that has this metadata entry does not show the field.
    """

    field: Field
    unless: Key | None = None

    def any_of(self, values: Sequence[Value]) -> Condition | None:
        """Return the condition that the field shows one of these values; None if it never can."""
        if self.field is not Field.START:
            words = [value for value in values if isinstance(value, str) and value]
            return FieldIn(self.field, words) if words else None
        numbers = [value for value in values if isinstance(value, int | float)]
        whole = [int(value) for value in numbers if not isinstance(value, bool) and value % 1 == 0]
        return And([_CHUNK, FieldIn(Field.START, whole)]) if whole else None

    def exists(self) -> Condition:
        """Return the condition that the field is shown at all."""
        return _CHUNK if self.field is Field.START else Not(FieldIn(self.field, [""]))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownMetadata:
    """The metadata that a framework shows, and conditions on them.

    A key with dots means the entry of that name, or the nested entry: both ``{"acl.team": "red"}``
    and ``{"acl": {"team": "red"}}`` meet ``acl.team``. An entry of the metadata overrides a field
    shown under the same key, unless it is null or an empty list.

    Args:
        fields: The shown fields, by their keys.
    """

    fields: Mapping[str, ShownField] = field(default_factory=dict)

    def any_of(self, key: str, values: Sequence[Value]) -> Condition:
        """Return the condition that the entry is one of ``values``, or holds one in a list.

        Raises:
            StoreError: The key cannot be meant, or a value cannot be compared.
        """
        if not values:
            return NOTHING
        one = values[0] if len(values) == 1 else None
        found = _in_either_form(
            key, lambda form: In(form, values) if one is None else Equals(form, one)
        )
        return self._or_field(key, found, lambda shown: shown.any_of(values))

    def within(self, key: str, bounds: Callable[[Key], Condition]) -> Condition:
        """Return the condition that the entry is a number within bounds.

        Raises:
            StoreError: The key cannot be meant, or a bound is not finite.
        """
        return _in_either_form(
            key, bounds
        )  # no framework asks for ranges of fields that are shown as numbers

    def exists(self, key: str) -> Condition:
        """Return the condition that the entry exists and is neither null nor an empty list.

        Raises:
            StoreError: The key cannot be meant.
        """
        found = _in_either_form(key, Exists)
        return self._or_field(key, found, ShownField.exists)

    def _or_field(
        self, key: str, found: Condition, part: Callable[[ShownField], Condition | None]
    ) -> Condition:
        if (shown := self.fields.get(key)) is None or (stated := part(shown)) is None:
            return found
        hidden = [Exists(key)] if shown.unless is None else [Exists(key), Exists(shown.unless)]
        return Or([found, And([*map(Not, hidden), stated])])


def with_source(passage: Passage, metadata: Mapping[str, object]) -> dict[str, object]:
    """Return metadata with the passage's source as ``source``, unless the metadata have that entry.

    Null and an empty list do not count as an entry: no filter distinguishes them from a missing
    one.
    """
    if not passage.source or metadata.get("source") not in (None, []):
        return dict(metadata)
    return {**metadata, "source": passage.source}


def with_start(passage: Passage, key: str, metadata: Mapping[str, object]) -> dict[str, object]:
    """Return metadata with a chunk's place in its document under ``key``, unless that is used.

    Null and an empty list do not count as an entry, as in :func:`with_source`.
    """
    if not passage.is_chunk or metadata.get(key) not in (None, []):
        return dict(metadata)
    return {**metadata, key: passage.start}


def _in_either_form(key: str, state: Callable[[Key], Condition]) -> Condition:
    if _ARRAY.search(key):
        raise StoreError(
            f"the filter key {key!r} leads into a list, which is not supported here; of a list "
            "of values any one may be equal, for other lists give a models.Filter, and for a "
            f"metadata key of this very name Equals({key!r}, ...), to the collection"
        )
    names = tuple(key.split("."))
    if len(names) == 1 or not all(names):
        return state(key)
    return Or([state(key), state(names)])
