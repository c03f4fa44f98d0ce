"""Read sentence-transformers' settings outside its modules: prompts, width, lower-casing."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from ..errors import RecipeError
from .choices import Choices
from .config_files import Object, count, settings

_FILE = "config_sentence_transformers.json"
_PASSAGES = ("document", "passage", "corpus")


def read_prompts(folder: Path) -> Choices:
    """Read prompts by sentence-transformers' names; the query's is None if no name is for it.

    encode_query reads ``query``; encode_document the first of ``document``, ``passage`` and
    ``corpus``; either falls back to the default prompt.

    Raises:
        RecipeError: The file is damaged.
    """
    prompts, default = _prompts(folder)
    passage = next((prompts[name] for name in _PASSAGES if name in prompts), default or "")
    query = prompts.get("query", default or "")
    return Choices(
        query_prompt=None if _unnamed(folder) else f"{query}{{text}}",
        passage_prompt=f"{passage}{{text}}",
    )


def check_query(folder: Path) -> None:
    """Refuse a folder whose named prompts include none for queries.

    sentence-transformers would leave queries without a prompt, although the model was trained with
    one.

    Raises:
        RecipeError: No prompt is for queries; the message lists the names.
    """
    if (folder / "modules.json").exists() and (names := _unnamed(folder)):
        template = f"{_prompts(folder)[0][names[0]]}{{text}}"
        raise RecipeError(
            f"{folder / _FILE} holds prompts named {', '.join(map(repr, names))} and none that is "
            "for queries ('query') or the default (default_prompt_name); pass the one to use, as "
            f"Choices(query_prompt={template!r}) or --query-prompt ('{{text}}' alone for none), or "
            "name it 'query' in that file"
        )


def read_width(folder: Path) -> Choices:
    """Read ``truncate_dim``: sentence-transformers cuts its vectors to this number of values.

    It cuts after Normalize, so its vectors have less than unit length; decant cuts before, which
    changes the length and no cosine.

    Raises:
        RecipeError: It is no width.
    """
    path = folder / _FILE
    said = settings(path, required=False).get("truncate_dim")
    if said is not None and count(said) is None:
        raise RecipeError(f"{path}: truncate_dim is a positive number or null, got {said!r}")
    return Choices(dim=count(said))


def check_lower_case(folder: Path) -> None:
    """Refuse a folder that lower-cases outside its tokenizer.

    Raises:
        RecipeError: It does; the message says what to add to the tokenizer.
    """
    config = settings(folder / "sentence_bert_config.json", required=False)
    if config.get("do_lower_case") is not True or not (folder / "tokenizer.json").exists():
        return
    text = (folder / "tokenizer.json").read_text(encoding="utf-8").replace(" ", "")
    if '"lowercase":true' not in text and '"type":"Lowercase"' not in text:
        raise RecipeError(
            f"{folder} lower-cases texts outside its tokenizer (do_lower_case), and decant never "
            "alters texts; add a Lowercase normalizer to its tokenizer.json"
        )


def _prompts(folder: Path) -> tuple[dict[str, str], str | None]:
    """Return the prompts by name, and the default one."""
    config = settings(folder / _FILE, required=False)
    held = config.get("prompts") or {}
    if not isinstance(held, dict):
        raise RecipeError(f"{folder / _FILE}: prompts is no object")
    # null means no prompt, as in sentence-transformers.
    prompts = {name: str(text or "") for name, text in cast("Object", held).items()}
    default = config.get("default_prompt_name")
    return prompts, None if default is None else prompts.get(str(default), "")


def _unnamed(folder: Path) -> list[str]:
    """Return the names of the non-empty prompts, if no name is for queries or the default."""
    prompts, default = _prompts(folder)
    if default is not None or prompts.keys() & {"query", *_PASSAGES}:
        return []
    return [name for name, text in prompts.items() if text]
