"""Conversations in the format of a model's chat template, which Transformers renders."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .. import json_records
from ..errors import RecipeError, need

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

# Templates of Llama 3 write a date into the system's turn. This is their fallback date, so that a
# prompt does not depend on the day on which it is made.
_DAY = "26 Jul 2024"


def chat_template(folder: Path, tokenizer: Tokenizer) -> PreTrainedTokenizerFast | None:
    """Return a tokenizer that renders the folder's chat template; None if it has no template.

    Transformers' own choice of a class may build another tokenizer of the same files; this one only
    fills in the template.

    Raises:
        RecipeError: ``tokenizer_config.json`` is damaged.
        MissingExtra: There is a template, and transformers is not installed.
    """
    path = folder / "tokenizer_config.json"
    held = json_records.read_object(path, error=RecipeError) if path.exists() else {}
    template = held.get("chat_template")
    alone = folder / "chat_template.jinja"
    if alone.exists():
        template = alone.read_text(encoding="utf-8")
    if isinstance(template, list):  # several templates by name, as Transformers 4 wrote them
        listed = [one for one in template if isinstance(one, dict)]
        template = next(
            (one.get("template") for one in listed if one.get("name") == "default"), None
        )
    if not isinstance(template, str):
        return None
    special = {
        name: value.get("content") if isinstance(value, dict) else value
        for name in ("bos_token", "eos_token", "unk_token", "pad_token")
        if (value := held.get(name)) is not None
    }
    made = need("transformers", extra="export").PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, chat_template=template, **special
    )
    return cast("PreTrainedTokenizerFast", made)


def conversation(chat: PreTrainedTokenizerFast, user: str, *, system: str | None = None) -> str:
    """Return a conversation in which the model speaks next; special tokens are written out.

    Args:
        chat: The result of :func:`chat_template`.
        user: The user's turn.
        system: The system's turn; if the template refuses or drops it, it is put at the start of
            the user's turn.

    Raises:
        RecipeError: The template is damaged, or refuses a user's turn.
    """
    turns = [{"role": "user", "content": user}]
    if system is None:
        return _rendered(chat, turns)
    with suppress(RecipeError):
        found = _rendered(chat, [{"role": "system", "content": system}, *turns])
        if system in found:
            return found
    return _rendered(chat, [{"role": "user", "content": f"{system}\n\n{user}"}])


def pair_conversation(
    chat: PreTrainedTokenizerFast,
    query: str,
    document: str,
    *,
    system: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> str | None:
    """Return a conversation of a query and a document, as sentence-transformers 6 renders pairs.

    Args:
        chat: The result of :func:`chat_template`.
        query: The turn of the role ``query``.
        document: The turn of the role ``document``.
        system: The system's turn, sentence-transformers' prompt; None: there is none.
        values: What the template reads beside the turns; None: nothing, so that no turn of the
            model is begun, as in sentence-transformers.

    Returns:
        The conversation; None if the template does not show each of the two once.
    """
    turns = [{"role": "query", "content": query}, {"role": "document", "content": document}]
    if system is not None:
        turns.insert(0, {"role": "system", "content": system})
    try:
        found = _rendered(chat, turns, values or {})
    except RecipeError:
        return None
    return found if found.count(query) == found.count(document) == 1 else None


def _rendered(
    chat: PreTrainedTokenizerFast,
    turns: list[dict[str, str]],
    values: Mapping[str, Any] | None = None,
) -> str:
    refused = need("jinja2", extra="export").TemplateError
    # enable_thinking: Qwen3 answers at once; others do not read it.
    usual: dict[str, Any] = {
        "add_generation_prompt": True,
        "enable_thinking": False,
        "date_string": _DAY,
    }
    given = usual if values is None else values
    try:
        found = chat.apply_chat_template(turns, tokenize=False, **given)
    except refused as error:
        raise RecipeError(f"the model's chat template cannot be used: {error}") from error
    return cast("str", found)


def without_start(rendered: str, tokenizer: Tokenizer) -> str:
    """Return a conversation without the start token, which the tokenizer adds itself."""
    given = tokenizer.encode("")
    for token, special in zip(given.tokens, given.special_tokens_mask, strict=True):
        if special and rendered.startswith(token):
            return rendered.removeprefix(token)
    return rendered
