"""The stores of these tests lie in memory, where no flush waits for a disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memory_folder import memory_folder


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Return an empty folder, in memory where there is such a place."""
    with memory_folder(tmp_path) as folder:
        yield folder
