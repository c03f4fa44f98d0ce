"""The layout of Edge collections in a folder: each is a sub-folder with metadata and a shard.

A collection is built under a hidden name and renamed when it is complete, so a half-made collection
never shows, and of two creators one wins. Deleting begins with renaming, too. A collection that
lost its metadata or its shard can only be deleted. This module opens no shard.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from decant.embedders import StoreError
from decant.embedders.files import write_atomically

from ..stores.collection_metadata import CollectionMetadata, with_search_defaults
from ..stores.input_errors import StoreInputError, absent, check_name, present
from ..stores.search_defaults import SearchDefaults

CARD = "collection.json"
SHARD = "shard"
ALIAS = "alias.json"
"""The file in the folder of a name that means another collection; see ``aliases.py``."""

_SEGMENT = (
    "segments/*/version.info"  # the engine writes this file last, and ignores segments without it
)
_STALE = 3_600.0  # a hidden folder older than these seconds was left by a crash


class EdgeHome:
    """A folder of collections.

    Args:
        folder: The folder; it is created with the first collection.

    Raises:
        StoreError: ``folder`` is a file.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise StoreInputError(f"{folder} is a file; give the folder that holds the index")
        # Absolute, because the working directory may change later.
        self.folder = folder.absolute()

    def names(self) -> list[str]:
        """Return the names of the collections and their aliases, sorted."""
        files = (path for file in (CARD, ALIAS) for path in self.folder.glob(f"[!.]*/{file}"))
        return sorted({path.parent.name for path in files})

    def shard(self, name: str) -> Path:
        """Return the folder of a collection's shard.

        Raises:
            StoreError: There is no such collection, or its shard is lost: the engine would make
                an empty one.
        """
        self.card(name)
        path = self.folder / name / SHARD
        if next(path.glob(_SEGMENT), None) is None:
            raise StoreError(
                f"the points of the collection {name!r} in {self.folder} are lost: there is no "
                f"whole segment in {path}; restore that folder from a copy, or delete the "
                f"collection with store.drop({name!r}) (`decant drop {name}`) and index again"
            )
        return path

    def remains(self, name: str) -> Path:
        """Return the place of a collection's shard, even if the shard or the metadata are lost.

        Raises:
            StoreError: There is no such collection, or the folder was not made by decant.
        """
        check_name(name)
        home = self.folder / name
        if not home.exists():
            raise absent(name, str(self.folder), self.names())
        if (home / ALIAS).exists():
            raise StoreError(
                f"{name!r} is an alias in {self.folder}, and nothing was deleted; drop the "
                "collection that it means, which `decant list` shows"
            )
        if not (home / CARD).exists() and not self._has_shard(name):
            raise self._occupied(name)
        return home / SHARD

    def card(self, name: str) -> CollectionMetadata:
        """Return the metadata of a collection.

        Raises:
            StoreError: There is no such collection, or its metadata are damaged.
        """
        where = f"collection {name!r} in {self.folder}"
        return CollectionMetadata.from_json(self._text(name), where=where)

    def _text(self, name: str) -> str:
        check_name(name)
        path = self.folder / name / CARD
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            if path.parent.exists():
                raise self._occupied(name) from error
            raise absent(name, str(self.folder), self.names()) from error
        except UnicodeDecodeError as error:
            raise StoreError(f"{path} is damaged ({error}); make the collection again") from error

    def make(self, name: str, card: CollectionMetadata, build: Callable[[Path], None]) -> None:
        """Make a collection, entirely or not at all.

        Args:
            name: Its name.
            card: Its metadata.
            build: Fills the empty folder of its shard.

        Raises:
            StoreError: The name is taken.
        """
        check_name(name)
        home = self.folder / name
        if home.exists():
            raise self._occupied(name)
        self._sweep()
        building = self._hidden(name)
        try:
            (building / SHARD).mkdir(parents=True)
            build(building / SHARD)
            _write_durably(building / CARD, card.to_json())
            try:
                building.rename(home)
            except OSError as error:
                if home.exists():
                    raise self._occupied(name) from error
                raise
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def set_search_defaults(self, name: str, defaults: SearchDefaults | None) -> None:
        """Replace the search defaults in a collection's metadata; readers see the old or the new.

        Raises:
            StoreError: There is no such collection, or its metadata are damaged.
        """
        path, where = self.folder / name / CARD, f"collection {name!r} in {self.folder}"
        write_atomically(path, with_search_defaults(self._text(name), defaults, where=where))

    def remove(self, name: str) -> None:
        """Delete a collection's folder."""
        doomed = self._hidden(name)
        (self.folder / name).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def remove_shard(self, name: str) -> None:
        """Delete the shard of a collection, and keep what else is in its folder."""
        doomed = self._hidden(name)
        (self.folder / name / SHARD).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _has_shard(self, name: str) -> bool:
        return any((self.folder / name / SHARD / part).exists() for part in ("segments", "wal"))

    def _hidden(self, name: str) -> Path:
        return self.folder / f".{name}.{uuid.uuid4().hex}.part"

    def _sweep(self) -> None:
        """Delete leftovers of processes that were killed while they created or deleted."""
        for path in self.folder.glob(".*.part"):
            # A folder that is gone by now was renamed or deleted by another process.
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _STALE:
                    shutil.rmtree(path, ignore_errors=True)

    def _occupied(self, name: str) -> StoreError:
        home = self.folder / name
        if (home / ALIAS).exists():
            return StoreError(
                f"the name {name!r} in {self.folder} is an alias of another collection; open it "
                "with Collection.open, or choose another name"
            )
        if (home / CARD).exists():
            return present(name, str(self.folder))
        if self._has_shard(name):
            return StoreError(
                f"the metadata of the collection {name!r} in {self.folder} are lost, but not its "
                f"points; restore {home / CARD} from a copy, or delete the collection with "
                f"store.drop({name!r}) (`decant drop {name}`) and index again"
            )
        return StoreError(
            f"{home} holds no {CARD}, so it was not made by decant; choose another name or folder"
        )


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
