"""Refuse to write when the disk is nearly full, because a memory-mapped file cannot report that.

Qdrant Edge maps sparse files into memory. If the disk has no space for a page that is written, the
system ends the whole process (SIGBUS) without an error that code could catch.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from decant.embedders import StoreError

MARGIN = 64 * 2**20
"""Bytes that must be free before the engine opens, makes or writes to a collection.

Measured on ext4 and tmpfs: the largest batch that decant writes (256 points, or 2 million
characters) took up to 22 MB, for the log and for the storage; opening on tmpfs fills the whole
first chunk of vectors, 32 MiB, and on ext4 what the log holds that was not flushed.
"""


def check_room(folder: Path, what: str, *, needed: int = 0) -> None:
    """Refuse to go on if the disk that holds a folder is nearly full.

    Args:
        folder: The folder, which need not exist yet.
        what: The operation, for the message.
        needed: Bytes that it takes in addition to :data:`MARGIN`.

    Raises:
        StoreError: Less than that is free; nothing was written.
    """
    free = free_bytes(folder)
    if free < MARGIN + needed:
        raise StoreError(
            f"{what} was not begun: the disk that holds {folder} has {_mib(free)} free, and "
            f"{_mib(MARGIN + needed)} are needed, because a disk that fills up under the engine "
            "ends the process; what was stored before is safe. Free some space, and try again"
        )


def free_bytes(folder: Path) -> int:
    """Return how many bytes are free on the disk that holds a folder, or will hold it."""
    while True:
        try:
            return shutil.disk_usage(folder).free
        except FileNotFoundError:
            if folder == folder.parent:
                raise
            folder = folder.parent


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
