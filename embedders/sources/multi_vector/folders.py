"""Tell whose folder of token vectors a folder is; a file of its own, above both readers.

A model of token vectors is told by its own settings, before its modules are read as those of a
model with one vector for each text. BGE-M3's heads lie in a folder of another kind, which has one
vector for each text; a strategy names them.
"""

from __future__ import annotations

from pathlib import Path

from .colbert import is_colbert, read_colbert
from .found import FoundTokenVectors
from .st_modules import is_multi_vector, read_multi_vector


def found_token_vectors(folder: Path) -> FoundTokenVectors | None:
    """Return what a folder says of token vectors; None if it is of another kind.

    A folder of sentence-transformers that also holds ColBERT's metadata is read as the former, as
    its own library does.

    Args:
        folder: A model's, with a ``config.json``.

    Raises:
        RecipeError: A file is damaged, or names something that decant does not support.
    """
    if is_multi_vector(folder):
        return read_multi_vector(folder)
    if not (folder / "modules.json").exists() and is_colbert(folder):
        return read_colbert(folder)
    return None
