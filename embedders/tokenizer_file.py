"""Get a model folder's tokenizer as a ``tokenizers.Tokenizer``, converting older formats.

Beside it stands how many tokens the folder's model has embeddings for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer

from . import jsonio
from .errors import RecipeError, need
from .recipe import Recipe
from .tokens import TextTokenizer


def load_text_tokenizer(folder: Path, recipe: Recipe) -> TextTokenizer:
    """Return what tokenises for a folder's model, as its recipe says.

    Raises:
        RecipeError: As :func:`load_tokenizer` and :class:`TextTokenizer`.
        MissingExtra: As :func:`load_tokenizer`.
    """
    return TextTokenizer(load_tokenizer(folder), recipe, embedded=embedded(folder))


def embedded(folder: Path) -> int | None:
    """Return how many tokens ``config.json`` gives embeddings; None if it does not say.

    Raises:
        RecipeError: The file is damaged.
    """
    if not (folder / "config.json").exists():
        return None
    config: Mapping[str, object] = jsonio.read_object(folder / "config.json", error=RecipeError)
    inner = config.get("text_config")
    for part in (config, inner):
        if isinstance(part, Mapping) and isinstance(rows := part.get("vocab_size"), int):
            return rows
    return None


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
