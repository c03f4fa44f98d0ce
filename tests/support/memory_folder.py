"""Folders in memory for the stores of tests.

Qdrant Edge waits for the disk at every flush and when a shard is made, which many small collections
add up to minutes. What the tests look at does not depend on it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_MIB = 2**20


def memory(mebibytes: int = 32) -> Path | None:
    """Return a folder that lies in memory and has so much room; None where there is none."""
    if not (_MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)):
        return None
    return _MEMORY if shutil.disk_usage(_MEMORY).free >= mebibytes * _MIB else None


@contextmanager
def memory_folder(otherwise: Path, mebibytes: int = 32) -> Iterator[Path]:
    """Give an empty folder in memory, which is deleted afterwards.

    Args:
        otherwise: The folder where there is no memory to write files to, or too little.
        mebibytes: How much room there must be.
    """
    if (place := memory(mebibytes)) is None:
        yield otherwise
        return
    with tempfile.TemporaryDirectory(dir=place, prefix="decant-") as folder:
        yield Path(folder)
