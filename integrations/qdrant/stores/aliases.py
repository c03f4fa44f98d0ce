"""Names that mean another collection, and notes of migrations: what a store keeps of both.

A name is the collection's own, or an alias. After a migration it means the new collection, although
the replaced one has the same name: on a server through an alias, or through an entry in the
replaced one's metadata until that is dropped; on Edge through a file in its folder. Invariant: only
:meth:`Store.find` follows a name. All other methods of a store take a collection's own name, so
what was opened never turns into another collection.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol, Self

from decant.embedders import StoreError
from decant.embedders.json_records import decode, encode, parse

from .collection_metadata import CollectionMetadata
from .collection_settings import PayloadIndex


class CollectionMovedError(StoreError):
    """A migration has closed this collection for writes; the name means another by now, or soon."""

    @classmethod
    def of(cls, name: str, place: str, following: str | None) -> Self:
        """Return the error for a write, of which nothing was stored."""
        return cls(
            f"nothing was written to the collection {name!r} in {place}, which a migration has "
            f"closed: {following or 'another one'!r} takes its place. Open it again by the name "
            "that was migrated, with the encoder of the new vectors (CollectionFollower does both)"
            "; if the migration was interrupted, run it again or roll it back"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCollection:
    """The collection that a name means.

    Args:
        name: Its own name.
        card: Its metadata.
    """

    name: str
    card: CollectionMetadata


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationNote:
    """The part of a collection in migrations; it is kept next to the collection's metadata.

    Args:
        alias: The name that is migrated.
        previous: The collection that this one replaces, if that is still there.
        previous_place: The store of that one, if it is another; for messages.
        following: The collection that replaces this one.
        following_place: The store of that one, if it is another; for messages.
        is_closed: Whether this one takes no writes.
        cut_over_at: When the name came to mean the newer one, in seconds since 1970; None: it has
            not yet.
    """

    alias: str
    previous: str | None = None
    previous_place: str | None = None
    following: str | None = None
    following_place: str | None = None
    is_closed: bool = False
    cut_over_at: float | None = None

    def to_json(self) -> str:
        """Return the note as JSON text."""
        return json.dumps(encode(self))

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            StoreError: The note is damaged, or a newer decant wrote it.
        """
        what = f"the note of a migration of {where}"
        return decode(cls, parse(text, where=what, error=StoreError), where=what, error=StoreError)


class Aliases(Protocol):
    """What a store keeps about names and migrations; all names but aliases are real ones."""

    @property
    def grace(self) -> float:
        """For how many seconds other processes may still write to a collection that was closed."""
        ...

    def all(self) -> dict[str, str]:
        """Return the collection of each alias."""
        ...

    def point(self, alias: str, name: str | None) -> None:
        """Make an alias mean a collection, atomically; None: what it was without.

        The alias may be the name of a collection, which is then reached by it no more.
        """
        ...

    def note(self, name: str) -> MigrationNote | None:
        """Return the note of a collection."""
        ...

    def set_note(self, name: str, note: MigrationNote | None) -> None:
        """Replace the note of a collection; no write is under way in this process then."""
        ...

    def indexed(self, name: str) -> tuple[PayloadIndex, ...]:
        """Return the metadata entries that a collection indexes, for the one that replaces it."""
        ...

    def drop_replaced(self, alias: str, name: str) -> None:
        """Delete the collection whose name is the alias that means the collection ``name``.

        A call that was interrupted is completed by the same call again.
        """
        ...
