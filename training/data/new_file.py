"""Write a file whole or not at all: a file of its own, shared by everything that makes data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import TrainingError


def refuse_existing(target: Path) -> None:
    """Refuse to write over an existing file.

    Raises:
        TrainingError: ``target`` exists.
    """
    if target.exists():
        raise TrainingError(f"{target} exists; choose another name or delete it")


@contextmanager
def open_atomically(target: Path) -> Iterator[IO[bytes]]:
    """Yield a file that becomes ``target`` on success and is deleted on an error."""
    partial = target.with_name(f".{target.name}.new")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
