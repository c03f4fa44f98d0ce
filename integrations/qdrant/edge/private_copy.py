"""Private copies of read-only shards, because the engine writes even when it only reads.

From Python, Qdrant Edge always opens its log and its segments for writing. A shard that is
read-only, by its permissions or its medium, is therefore copied to a temporary folder, which is
deleted when it is closed. Files of a shard are mostly holes, and the copy keeps them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from decant.embedders import StoreError

from .disk_space import check_room
from .errors import locked_elsewhere
from .shard_lock import shard_lock

_PREFIX = "decant-read-only-"
_BLOCK = 64 * 2**10


def is_writable(shard: Path) -> bool:
    """Return whether the engine may write to a shard: to its folders and to all its files."""
    return all(os.access(path, os.W_OK) for path in (shard, *shard.rglob("*")))


def private_copy(shard: Path, what: str, place: str) -> Path:
    """Copy a shard to a new temporary folder, and return that folder.

    Args:
        shard: The shard's folder.
        what: The operation, for messages.
        place: The store's folder, for messages.

    Raises:
        StoreError: Another process has it open and may be writing to it, or the disk is full.
    """
    with shard_lock(shard, shared=True) as is_free:
        if not is_free:
            raise locked_elsewhere(what, place)
        check_room(Path(tempfile.gettempdir()), what, needed=allocated_bytes(shard))
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            copy = folder / shard.name
            shutil.copytree(shard, copy, copy_function=copy_sparsely)
            for path in (copy, *copy.rglob("*")):
                path.chmod(0o700 if path.is_dir() else 0o600)
        except BaseException:
            remove_copy(folder / shard.name)
            raise
    return copy


def remove_copy(copy: Path) -> None:
    """Delete a copy from :func:`private_copy`."""
    shutil.rmtree(copy.parent, ignore_errors=True)


def refuse_write(what: str, place: str) -> StoreError:
    """Return the error for a write to a shard that was opened from a copy."""
    return StoreError(
        f"{what} failed: the collection in {place} is read-only, and is read from a "
        "private copy; give write permission to the folder and all in it, or copy it elsewhere"
    )


def allocated_bytes(folder: Path) -> int:
    """Return how many bytes the files in a folder take on the disk; holes take none."""
    found = (path.lstat() for path in folder.rglob("*"))
    # Without a count of blocks, as on Windows, the sizes are used.
    return sum(512 * getattr(item, "st_blocks", -(-item.st_size // 512)) for item in found)


def copy_sparsely(source: str, target: str) -> None:
    """Copy a file, for :func:`shutil.copytree`; blocks of zeros become holes."""
    with Path(source).open("rb") as reader, Path(target).open("wb") as writer:
        while block := reader.read(_BLOCK):
            if block == bytes(len(block)):
                writer.seek(len(block), os.SEEK_CUR)
            else:
                writer.write(block)
        writer.truncate(reader.tell())
