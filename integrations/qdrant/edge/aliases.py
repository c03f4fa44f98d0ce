"""Aliases and notes of migrations in a folder: a file each, next to the shard.

``alias.json`` in the folder of a name says which collection it means, and ``migration.json`` holds
the note of the collection in that folder. Both are replaced atomically.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from decant.embedders import StoreError
from decant.embedders.files import write_atomically
from decant.embedders.json_records import parse

from ..stores.aliases import CollectionMovedError, MigrationNote
from ..stores.collection_settings import PayloadIndex
from ..stores.input_errors import check_name
from .folder import ALIAS, CARD, SHARD, EdgeHome
from .schema import indexed_fields
from .shards import OpenShard, remove_shard

_NOTE = "migration.json"


class EdgeAliases:
    """The aliases of a folder of collections.

    Args:
        home: The folder.
        changing: Returns a context manager in which no point of a collection changes.
        open_shard: Returns the engine's object of a collection.
    """

    grace = 0.0
    """One process at a time has a collection open, and its writes end before it is closed."""

    def __init__(
        self,
        home: EdgeHome,
        changing: Callable[[str], AbstractContextManager[object]],
        open_shard: Callable[[str, str], OpenShard],
    ) -> None:
        self._home = home
        self._changing = changing
        self._open_shard = open_shard

    def all(self) -> dict[str, str]:
        """Return the collection of each alias."""
        return {name: self.resolve(name) for name in self._direct()}

    def indexed(self, name: str) -> tuple[PayloadIndex, ...]:
        """Return the metadata entries that a collection indexes."""
        shard = self._open_shard(name, f"opening the collection {name!r}")
        with shard.turns.reading():
            return indexed_fields(shard.engine)

    def resolve(self, name: str) -> str:
        """Return the name of the collection that a name means, through several aliases if need be.

        Raises:
            StoreError: The file of an alias is damaged, or aliases mean each other.
        """
        check_name(name)
        seen = [name]
        while (real := self._next(seen[-1])) is not None:
            if real in seen:
                raise StoreError(
                    f"the aliases {', '.join(map(repr, seen))} in {self._home.folder} mean each "
                    f"other; delete the file {ALIAS} in the folder of one of them"
                )
            seen.append(real)
        return seen[-1]

    def point(self, alias: str, name: str | None) -> None:
        """Make an alias mean a collection."""
        check_name(alias)
        with self._changing(self.resolve(alias) if name is None else name):
            path = self._path(alias, ALIAS)
            if name is None:
                path.unlink(missing_ok=True)
                with suppress(OSError):  # a collection of this name is in there
                    path.parent.rmdir()
                return
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, json.dumps({"collection": name}) + "\n")

    def note(self, name: str) -> MigrationNote | None:
        """Return the note of a collection."""
        try:
            text = self._path(name, _NOTE).read_text("utf-8")
        except FileNotFoundError:
            return None
        where = f"the collection {name!r} in {self._home.folder}"
        return MigrationNote.from_json(text, where=where)

    def set_note(self, name: str, note: MigrationNote | None) -> None:
        """Replace the note of a collection, between two writes to it."""
        with self._changing(name):
            if note is None:
                self._path(name, _NOTE).unlink(missing_ok=True)
            else:
                write_atomically(self._path(name, _NOTE), note.to_json() + "\n")

    def check_open(self, name: str) -> None:
        """Refuse a write to a collection that a migration has closed.

        Raises:
            CollectionMovedError: It is closed.
        """
        note = self.note(name)
        if note is not None and note.is_closed:
            raise CollectionMovedError.of(name, str(self._home.folder), note.following)

    def drop_replaced(self, alias: str, name: str) -> None:
        """Delete the collection of the alias's name, and keep the file of the alias."""
        if self.resolve(alias) != name:
            raise StoreError(f"{alias!r} does not mean {name!r}, so nothing was deleted")
        home = self._home.folder / alias
        # Without its metadata the folder counts as an alias alone, whatever else is left in it.
        with self._changing(name):
            (home / CARD).unlink(missing_ok=True)
            self._path(alias, _NOTE).unlink(missing_ok=True)
        if (home / SHARD).exists():
            what = f"deleting the replaced collection {alias!r}"
            remove = lambda: self._home.remove_shard(alias)  # noqa: E731
            remove_shard(home / SHARD, remove, what, str(self._home.folder))

    def forget(self, name: str) -> None:
        """Remove the aliases of a collection, before it is deleted; what they hid is open again."""
        for alias in self._direct():
            if self._next(alias) != name:
                continue
            note = self.note(alias)
            if note is not None and note.following == name:
                self._path(alias, _NOTE).unlink(missing_ok=True)
            path = self._path(alias, ALIAS)
            path.unlink(missing_ok=True)
            with suppress(OSError):
                path.parent.rmdir()

    def _direct(self) -> list[str]:
        return sorted(path.parent.name for path in self._home.folder.glob(f"[!.]*/{ALIAS}"))

    def _next(self, name: str) -> str | None:
        path = self._path(name, ALIAS)
        try:
            held = parse(path.read_text("utf-8"), where=str(path), error=StoreError)
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            held = None
        real = held.get("collection") if isinstance(held, dict) else None
        if not isinstance(real, str):
            raise StoreError(
                f"{path} is damaged, which says what collection the name {name!r} means; restore "
                'it from a copy, or write {"collection": "NAME"} into it'
            )
        return real

    def _path(self, name: str, file: str) -> Path:
        return self._home.folder / name / file
