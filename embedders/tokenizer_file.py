"""Get a model folder's tokenizer as a ``tokenizers.Tokenizer``, converting older formats."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from .errors import RecipeError, need


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read ``tokenizer.json``, or let Transformers build it from vocabulary files.

    Raises:
        RecipeError: The folder has no tokenizer that can be read or converted.
        MissingExtra: Converting needs Transformers, which is not installed.
    """
    path = folder / "tokenizer.json"
    if path.exists():
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise RecipeError(f"{path} is not a readable tokenizer: {error}") from error
    transformers = need("transformers", extra="export")
    try:
        loaded = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise RecipeError(f"{folder} has no tokenizer that can be read: {error}") from error
    backend = getattr(loaded, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise RecipeError(f"{folder} has no tokenizer.json, and its tokenizer has no fast form")
    return backend
