"""Show a store's place and a count as text: a file of its own, below all other output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decant.integrations.qdrant import Store


def place_of(store: Store) -> str:
    """Return the folder of a store as a full path, or its address."""
    from decant.integrations.qdrant import Engine

    return str(Path(store.place).resolve()) if store.engine is Engine.EDGE else store.place


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "passage"), counted(1200, "passage")
    ('1 passage', '1,200 passages')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
