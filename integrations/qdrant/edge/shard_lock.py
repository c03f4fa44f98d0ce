"""Take and release, from outside the engine, the lock that Qdrant Edge holds on an open shard.

The engine locks the folder of its write-ahead log with flock(2). That lock belongs to the open file
and not to the process: a forked child holds it, too, until it closes its copy of the descriptor.
Windows has neither fork nor flock; there the system refuses to move files that are open.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

if sys.platform != "win32":
    import fcntl

Identity: TypeAlias = tuple[int, int]
"""Device and inode of a folder: equal under all its names, and new if it is made again."""

_LOG = "wal"
_DESCRIPTORS = Path("/dev/fd")


def identity(shard: Path) -> Identity | None:
    """Return the identity of a shard; None if the folder holds no shard.

    It is the identity of the folder that the engine keeps open, so no other folder can get it
    meanwhile.
    """
    try:
        found = (shard / _LOG).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def shard_lock(shard: Path, *, shared: bool) -> Iterator[bool]:
    """Hold the engine's lock within the block, without the engine.

    Args:
        shard: The shard's folder; a shard without a log cannot be open, and needs no lock.
        shared: Whether other readers may hold the lock at the same time; the engine may not.

    Yields:
            Whether the lock was free; if not, another process has the shard open.
    """
    if sys.platform == "win32" or not (shard / _LOG).is_dir():
        yield True
        return
    descriptor = os.open(shard / _LOG, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def let_go(shard: Identity) -> None:
    """Release an inherited lock in a forked child; the parent keeps its own.

    Without this a shard that the parent has closed would stay locked until the child ends. The
    descriptors stay taken, by an empty file, because the engine's object still has their numbers.
    """
    try:
        descriptors = [int(path.name) for path in _DESCRIPTORS.iterdir()]
    except OSError:  # without such a folder, the lock is held until this process ends
        return
    empty = os.open(os.devnull, os.O_RDONLY)
    try:
        for descriptor in descriptors:
            # The list contains the descriptor that listed the folder, which is closed by now.
            with suppress(OSError):
                found = os.fstat(descriptor)
                if (found.st_dev, found.st_ino) == shard:
                    os.dup2(empty, descriptor, inheritable=False)
    finally:
        os.close(empty)
