"""Load a model folder's tokenizer as a ``tokenizers.Tokenizer``, converting older formats.

This module also reads how many tokens the folder's model has embeddings for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tokenizers import Tokenizer

from .. import json_records
from ..errors import RecipeError, need
from ..recipe.recipe import Recipe
from ..recipe.rerank_recipe import RerankRecipe
from .pair_tokenizer import PairTokenizer
from .tokenizer import TextTokenizer
from .tokenizers_errors import rust_errors

_LARGEST = 2**29  # bytes; Gemma's, of 262,144 tokens, has 33 million

NO_CODE = "decant runs no code that comes with a model"


def load_text_tokenizer(folder: Path, recipe: Recipe) -> TextTokenizer:
    """Return the tokenizer of a folder's model, with its recipe's prompts and limits.

    Raises:
        RecipeError: As in :func:`load_tokenizer` and :class:`TextTokenizer`.
        MissingExtra: As in :func:`load_tokenizer`.
    """
    return TextTokenizer(load_tokenizer(folder), recipe, embedded=embedding_count(folder))


def load_pair_tokenizer(folder: Path, recipe: RerankRecipe) -> PairTokenizer:
    """Return the tokenizer of a folder's reranker, with its recipe's template and limit.

    Raises:
        RecipeError: As in :func:`load_tokenizer` and :class:`PairTokenizer`.
        MissingExtra: As in :func:`load_tokenizer`.
    """
    return PairTokenizer(load_tokenizer(folder), recipe, embedded=embedding_count(folder))


def embedding_count(folder: Path) -> int | None:
    """Return the number of token embeddings in ``config.json``; None if it has no such number.

    Raises:
        RecipeError: The file is damaged.
    """
    if not (folder / "config.json").exists():
        return None
    config: Mapping[str, object] = json_records.read_object(
        folder / "config.json", error=RecipeError
    )
    inner = config.get("text_config")
    for part in (config, inner):
        if isinstance(part, Mapping) and isinstance(rows := part.get("vocab_size"), int):
            return rows
    return None


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a ``tokenizer.json``.

    Raises:
        RecipeError: It is damaged, no plain file, or too large.
    """
    json_records.check_plain(path, most_bytes=_LARGEST, error=RecipeError)
    with rust_errors(RecipeError, f"{path} is not a readable tokenizer"):
        return Tokenizer.from_file(str(path))


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read ``tokenizer.json``, or let Transformers build it from vocabulary files.

    Raises:
        RecipeError: The folder has no tokenizer that can be read or converted.
        MissingExtra: Converting needs Transformers, which is not installed.
    """
    path = folder / "tokenizer.json"
    if path.exists():
        return read_tokenizer(path)
    transformers = need("transformers", extra="export")
    try:
        # Without this, Transformers asks on the terminal whether to run the folder's code.
        loaded = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError) as error:
        raise RecipeError(
            f"{folder} has no tokenizer that can be read ({NO_CODE}, if it names any): {error}"
        ) from error
    backend = getattr(loaded, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise RecipeError(f"{folder} has no tokenizer.json, and its tokenizer has no fast form")
    return backend
