"""Conditions on metadata as a framework shows them, which is not always as they are stored.

A framework shows some of our own fields as entries of the metadata (the source of a chunk stands
under ``source``), and its users write nested entries with dots. Invariant: a condition made here
holds for exactly the passages whose shown metadata it describes, so its :class:`Not` is the exact
complement, and what is shown can be filtered and deleted by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from decant.embedders import StoreError

from .qdrant import All, AnyOf, Condition, Either, Equals, Exists, Field, FieldIn, Not, Passage
from .qdrant.conditions import Key, Scalar

NOTHING: Condition = FieldIn(Field.KIND, ["nothing"])
"""The condition that no passage meets."""

# Qdrant's way into arrays, such as tags[].name and tags[0]; see "payload paths" in its filters.
_ARRAY = re.compile(r"\[\d*\](\.|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownField:
    """One of our own fields that is shown as an entry of the metadata.

    Args:
        field: Which one; where it is empty nothing is shown.
        unless: A passage that has this metadata entry does not show the field.
    """

    field: Field
    unless: Key | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownMetadata:
    """What a framework shows as metadata, to make conditions on.

    A key with dots means the entry of that name, or the one that the names lead to: ``acl.team``
    is met by ``{"acl.team": "red"}`` and by ``{"acl": {"team": "red"}}``. An entry of the
    metadata goes before a field shown under the same key, unless it is null or an empty list.

    Args:
        fields: The fields that are shown, by their keys.
    """

    fields: Mapping[str, ShownField] = field(default_factory=dict)

    def any_of(self, key: str, values: Sequence[Scalar]) -> Condition:
        """Return the condition that the entry is one of ``values``, or holds one in a list.

        Raises:
            StoreError: The key cannot be meant, or a value cannot be compared.
        """
        if not values:
            return NOTHING
        one = values[0] if len(values) == 1 else None
        found = _in_either_form(
            key, lambda form: AnyOf(form, values) if one is None else Equals(form, one)
        )
        words = [value for value in values if isinstance(value, str) and value]
        return self._or_field(key, found, lambda own: FieldIn(own, words)) if words else found

    def within(self, key: str, bounds: Callable[[Key], Condition]) -> Condition:
        """Return the condition that the entry is a number within bounds.

        Raises:
            StoreError: The key cannot be meant, or a bound is not finite.
        """
        return _in_either_form(key, bounds)  # our own fields are no numbers

    def exists(self, key: str) -> Condition:
        """Return the condition that the entry is there and is neither null nor an empty list.

        Raises:
            StoreError: The key cannot be meant.
        """
        found = _in_either_form(key, Exists)
        return self._or_field(key, found, lambda own: Not(FieldIn(own, [""])))

    def _or_field(
        self, key: str, found: Condition, part: Callable[[Field], Condition]
    ) -> Condition:
        if (shown := self.fields.get(key)) is None:
            return found
        hidden = [Exists(key)] if shown.unless is None else [Exists(key), Exists(shown.unless)]
        return Either([found, All([*map(Not, hidden), part(shown.field)])])


def with_source(passage: Passage, metadata: Mapping[str, object]) -> dict[str, object]:
    """Return metadata with the passage's source under ``source``, unless there is one of its own.

    Null and an empty list are none of its own: no filter tells them from an entry that is missing.
    """
    if not passage.source or metadata.get("source") not in (None, []):
        return dict(metadata)
    return {**metadata, "source": passage.source}


def _in_either_form(key: str, state: Callable[[Key], Condition]) -> Condition:
    if _ARRAY.search(key):
        raise StoreError(
            f"the filter key {key!r} leads into a list, which is not carried out here; of a list "
            "of values any one may be equal, for other lists give a models.Filter, and for a "
            f"metadata key of this very name Equals({key!r}, ...), to the collection"
        )
    names = tuple(key.split("."))
    if len(names) == 1 or not all(names):
        return state(key)
    return Either([state(key), state(names)])
