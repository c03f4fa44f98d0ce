"""Read the payload indexes that ``decant index --payload-index`` names.

An index is written ``KEY:TYPE``, as in ``year:integer`` or ``author.name:keyword``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from .metadata_keys import read_key

if TYPE_CHECKING:
    from decant.integrations.qdrant import Collection, PayloadIndex

_OPTION = "--payload-index"


def read_payload_indexes(given: Sequence[str]) -> tuple[PayloadIndex, ...]:
    """Return the indexes that are named, in order.

    Raises:
        BadParameter: One is not ``KEY:TYPE``, its key is none, its type is unknown, or two of one
            key differ.
    """
    from decant.integrations.qdrant import FieldType, PayloadIndex

    found: dict[str, PayloadIndex] = {}
    for text in given:
        key, _, kind = text.rpartition(":")
        if not key or kind not in set(FieldType):
            raise typer.BadParameter(
                f"{text!r} is not KEY:TYPE, as in year:integer; the types are "
                f"{', '.join(FieldType)}",
                param_hint=_OPTION,
            )
        index = PayloadIndex(key=read_key(key, option=_OPTION), type=FieldType(kind))
        if found.setdefault(key, index) != index:
            raise typer.BadParameter(
                f"{key!r} is given with two types, {found[key].type} and {index.type}; give one",
                param_hint=_OPTION,
            )
    return tuple(found.values())


def add_payload_indexes(collection: Collection, indexes: Sequence[PayloadIndex]) -> None:
    """Make the indexes in a collection that was there before; those that it has stay."""
    for index in indexes:
        collection.add_index(index)
