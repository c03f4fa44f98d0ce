"""Names of the files that make a folder a bundle; hash files, and write them atomically.

Every wing needs these, and none owns them.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

MANIFEST = "decant.json"
"""The file that makes a folder a bundle: its recipe, and the hashes of its files."""

CERTIFICATE = "certificate.json"
"""How far the graphs of a bundle agree with PyTorch."""

REFERENCE = "reference.npz"
"""Texts with PyTorch's vectors of them, which certificates compare with."""


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Write a small text file so that readers see the old or the new one, never a part."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
