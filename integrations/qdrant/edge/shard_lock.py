"""The lock that Qdrant Edge holds on an open shard, used from outside the engine.

The engine locks the folder of its write-ahead log with flock(2), which goes with the open file and
not with the process: a forked child holds it, too, until it closes its copy of the descriptor. On
Windows there is neither fork nor flock; there the system refuses to move files that are open.
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
"""The device and number of a folder: the same under all its names, another when made again."""

_LOG = "wal"
_DESCRIPTORS = Path("/dev/fd")


def identity(shard: Path) -> Identity | None:
    """Return what tells this shard from all others, or None if there is none in the folder.

    It is that of the folder that the engine keeps open, so no other gets it meanwhile.
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
        shard: The shard's folder; one without a log cannot be open, and needs no lock.
        shared: Whether others may hold it so, too, who only read; the engine may not.

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
    """Let go of an inherited lock, in a forked child: the parent's own is not touched.

    Without this a shard that the parent has closed would stay locked until the child ends. The
    descriptors stay taken, by an empty file, because the engine's object still has their numbers.
    """
    try:
        descriptors = [int(path.name) for path in _DESCRIPTORS.iterdir()]
    except OSError:  # there is no such folder; the lock is then held until this process ends
        return
    empty = os.open(os.devnull, os.O_RDONLY)
    try:
        for descriptor in descriptors:
            # The descriptor that listed the folder is in the list, and gone by now.
            with suppress(OSError):
                found = os.fstat(descriptor)
                if (found.st_dev, found.st_ino) == shard:
                    os.dup2(empty, descriptor, inheritable=False)
    finally:
        os.close(empty)
