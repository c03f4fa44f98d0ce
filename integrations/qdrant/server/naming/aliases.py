"""Aliases and notes of migrations on a server.

A server has aliases, but none with the name of a collection. So a collection that was replaced
under its own name says in its metadata which one the name means; when it is dropped, a collection
without vectors takes its place that says so. Invariant: at every moment of that, the name leads to
the newer collection, and a request that was meant for the old one never reaches the newer one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Condition
from time import monotonic
from typing import TYPE_CHECKING, Any

from qdrant_client import models

from decant.embedders import StoreError
from decant.embedders.forks import renew_after_fork

from ...stores.aliases import CollectionMovedError, MigrationNote
from ...stores.collection_metadata import CollectionMetadata
from ...stores.collection_settings import FieldType, PayloadIndex

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

CARD = "decant"
"""The key of a collection's metadata that holds its :class:`CollectionMetadata`."""

OWN_NAME = "decant_name"
"""The key of a collection's metadata with its own name, by which an alias is seen to be one."""

INDEXES = "decant_indexes"
"""The key of a collection's metadata with the types of its payload indexes, by their paths."""

_MEANS = "decant_means"
_SIGNPOST = "decant_signpost"
_NOTE = "decant_migration"
_GRACE = 5.0

Ask = Callable[[str, Callable[[], Any]], Any]


class RemoteAliases:
    """The aliases of one server.

    Args:
        client: The client of the server.
        ask: Sends a request; called with what it is for, and the request.
        place: The address, for messages.
        is_local: Whether the client runs in local mode, which only this process uses.

    Attributes:
        last_read: The metadata of each collection when they were last read.
    """

    def __init__(self, client: QdrantClient, ask: Ask, place: str, *, is_local: bool) -> None:
        self._client = client
        self._ask = ask
        self._place = place
        self.grace = 0.0 if is_local else _GRACE
        self._seen: dict[str, tuple[float, str]] = {}
        self.last_read: dict[str, Mapping[str, Any]] = {}
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget the writes of other threads, which a forked child does not have."""
        self._changed = Condition()
        self._writes: Counter[str] = Counter()
        self._noting: set[str] = set()

    def all(self) -> dict[str, str]:
        """Return the collection of each alias, those of replaced collections included."""
        found = dict(self.of_server())
        for item in self._ask("listing the collections", self._client.get_collections).collections:
            if item.name in found.values() or not self._exists(item.name):
                continue
            if (real := self.follow(item.name, self._metadata(item.name))) != item.name:
                found[item.name] = real
        return found

    def of_server(self) -> dict[str, str]:
        """Return the collection of each alias that the server itself has."""
        found = self._ask("listing the aliases", self._client.get_aliases)
        return {item.alias_name: item.collection_name for item in found.aliases}

    def follow(self, name: str, metadata: Mapping[str, Any]) -> str:
        """Return the collection that the name of a collection means, from the metadata read by it.

        Only a name that is not the collection's own costs a request.
        """
        if metadata.get(_MEANS):
            return str(metadata[_MEANS])
        return name if metadata.get(OWN_NAME) == name else self.of_server().get(name, name)

    def is_signpost(self, metadata: Mapping[str, Any]) -> bool:
        """Return whether a collection with these metadata only says what its name means."""
        return bool(metadata.get(_SIGNPOST))

    def lost(self, name: str, listed: Sequence[str]) -> str | None:
        """Return the collection that a name means which is neither a collection nor an alias.

        Such a name is left by a process that ended between dropping a replaced collection and
        putting a signpost there.

        Args:
            name: The name.
            listed: The collections of the server.
        """
        for one in listed:
            note = self.note(one) if one.startswith(f"{name}__") else None
            if note is not None and note.previous == name and note.cut_over_at is not None:
                return one
        return None

    def point(self, alias: str, name: str | None) -> None:
        """Make an alias mean a collection."""
        held = self.of_server()
        if alias not in held and self._exists(alias):
            if name is None and self._metadata(alias).get(_SIGNPOST):
                self._ask(f"deleting {alias!r}", partial(self._client.delete_collection, alias))
                return
            change = partial(self._client.update_collection, alias, metadata={_MEANS: name or ""})
            self._ask(f"making {alias!r} mean {name!r}", change)
            return
        actions: list[models.AliasOperations] = []
        if alias in held:
            gone = models.DeleteAlias(alias_name=alias)
            actions.append(models.DeleteAliasOperation(delete_alias=gone))
        if name is not None:
            made = models.CreateAlias(collection_name=name, alias_name=alias)
            actions.append(models.CreateAliasOperation(create_alias=made))
        if actions:
            change = partial(self._client.update_collection_aliases, actions)
            self._ask(f"making {alias!r} mean {name!r}", change)

    def note(self, name: str) -> MigrationNote | None:
        """Return the note of a collection; None also if there is no such collection."""
        if not self._exists(name):
            return None
        return self._read(name, self.saw(name, self._metadata(name)))

    def saw(self, name: str, metadata: Mapping[str, Any]) -> str:
        """Remember and return the text of the note in metadata that were just read; "" for none."""
        text = str(metadata.get(_NOTE) or "")
        self._seen[name] = (monotonic(), text)
        self.last_read[name] = metadata
        return text

    def set_note(self, name: str, note: MigrationNote | None) -> None:
        """Replace the note of a collection, between two writes of this store to it."""
        # As text, because a server merges objects; empty, because clients may leave out a null.
        text = "" if note is None else note.to_json()
        change = partial(self._client.update_collection, name, metadata={_NOTE: text})
        with self._between_writes(name):
            self._ask(f"noting the migration of {name!r}", change)
            self._seen[name] = (monotonic(), text)

    @contextmanager
    def writing(self, name: str) -> Iterator[None]:
        """Write to a collection in the block, which ends before its note is replaced.

        Raises:
            CollectionMovedError: A migration has closed it.
        """
        with self._changed:
            self._changed.wait_for(lambda: name not in self._noting)
            self._writes[name] += 1
        try:
            self.check_open(name)
            yield
        finally:
            with self._changed:
                self._writes[name] -= 1
                self._changed.notify_all()

    def check_open(self, name: str) -> None:
        """Refuse a write to a collection that a migration has closed, within the grace time.

        Raises:
            CollectionMovedError: It is closed.
        """
        seen, text = self._seen.get(name, (float("-inf"), ""))
        if monotonic() - seen >= self.grace:
            text = self.saw(name, self._metadata(name))
        if not text:
            return
        note = self._read(name, text)
        if note is not None and note.is_closed:
            raise CollectionMovedError.of(name, self._place, note.following)

    def indexed(self, name: str) -> tuple[PayloadIndex, ...]:
        """Return the metadata entries that a collection indexes."""
        metadata = self._metadata(name)
        where = f"the collection {name!r} at {self._place}"
        layout = CollectionMetadata.from_json(str(metadata[CARD]), where=where).payload_layout
        held = dict(metadata.get(INDEXES, {})).items()
        own = [(path if layout is None else layout.own_path(path), kind) for path, kind in held]
        known = sorted((path, kind) for path, kind in own if path is not None)
        found = (PayloadIndex.at(path, FieldType(kind)) for path, kind in known)
        return tuple(one for one in found if one is not None)

    def drop_replaced(self, alias: str, name: str) -> None:
        """Delete the collection of the alias's name, and leave a signpost in its place.

        The signpost is a collection without vectors. An alias of the server would not do: what has
        the old collection open sends its vectors to this name, and would search the new one.
        """
        if self._exists(alias):
            metadata = self._metadata(alias)
            if self.follow(alias, metadata) != name:
                raise StoreError(f"{alias!r} does not mean {name!r}, so nothing was deleted")
            if metadata.get(_SIGNPOST):
                return
            delete = partial(self._client.delete_collection, alias)
            self._ask(f"deleting the replaced collection {alias!r}", delete)
            self._seen.pop(alias, None)
        note = MigrationNote(alias=alias, following=name, is_closed=True)
        make = partial(
            self._client.create_collection,
            alias,
            vectors_config={},
            metadata={_MEANS: name, OWN_NAME: alias, _SIGNPOST: True, _NOTE: note.to_json()},
        )
        self._ask(f"making {alias!r} mean {name!r}", make)

    def forget(self, name: str, metadata: Mapping[str, Any]) -> None:
        """Make no other name mean a collection that is about to be deleted.

        Args:
            name: The collection.
            metadata: What was read of it.
        """
        try:
            note = self._read(name, str(metadata.get(_NOTE) or ""))
        except StoreError:
            return  # damaged, like much of what is deleted
        if note is None or note.alias == name or not self._exists(note.alias):
            return
        other = self._metadata(note.alias)
        if other.get(_MEANS) == name:
            self.point(note.alias, None)
            if not self.is_signpost(other):
                self.set_note(note.alias, None)  # it takes writes again

    @contextmanager
    def _between_writes(self, name: str) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: name not in self._noting)
            self._noting.add(name)  # so that no further write begins
            self._changed.wait_for(lambda: not self._writes[name])
        try:
            yield
        finally:
            with self._changed:
                self._noting.discard(name)
                self._changed.notify_all()

    def _read(self, name: str, text: str) -> MigrationNote | None:
        where = f"the collection {name!r} at {self._place}"
        return MigrationNote.from_json(text, where=where) if text else None

    def _exists(self, name: str) -> bool:
        found: bool = self._ask(
            f"looking for {name!r}", partial(self._client.collection_exists, name)
        )
        return found

    def _metadata(self, name: str) -> Mapping[str, Any]:
        info = self._ask(f"opening {name!r}", partial(self._client.get_collection, name))
        return info.config.metadata or {}
