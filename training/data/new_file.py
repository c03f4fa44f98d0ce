"""A file that appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import TrainingError


def refuse_existing(target: Path) -> None:
    """Refuse to write over what is there.

    Raises:
        TrainingError: ``target`` exists.
    """
    if target.exists():
        raise TrainingError(f"{target} exists; choose another name or delete it")


@contextmanager
def appearing(target: Path) -> Iterator[IO[bytes]]:
    """Give a file that becomes ``target`` when all went well, and is gone otherwise."""
    partial = target.with_name(f".{target.name}.new")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
