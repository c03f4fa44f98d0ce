"""Find the recipe of a model, and fail loudly where nothing says a part of it.

What the user says comes first, then a strategy, our registry, and the folder's own files.

Only JSON files are read here, no weights. The folder formats are sentence-transformers' (both
schemas: up to 5 with ``pooling_mode_*`` booleans, from 6 with ``pooling_mode``) and Transformers'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

from ..errors import RecipeError
from ..recipe.recipe import Recipe
from ..tokens.content_words import wants_space
from ..tokens.load import load_tokenizer
from .architectures import said_attention
from .chat_templates import chat_template, conversation, without_start
from .choices import Choices, registered
from .config_files import Object, count, part, settings
from .find import ModelFiles
from .known_strategies import find_strategy
from .llm2vec import llm2vec_choices
from .positions import longest_text
from .recipe_file import RECIPE_FILE, read_choices
from .st_modules import sentence_modules
from .st_settings import check_lower_case, check_query, said_prompts, said_width
from .strategy import ModelSize, Strategy, check_strategy

# Transformers reads all as the first: names of GPT-2 and BLOOM, of GPT-Neo, of MPT and DistilBERT.
_DEPTHS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_BARE = "{text}"
_SPACED = " {text}"
_LENGTH_LIMIT = 10**6  # tokenizers without a limit say 10**30


def resolve(
    source: ModelFiles, choices: Choices | None = None, *, strategy: str | Strategy | None = None
) -> Recipe:
    """Return the recipe of a model.

    Args:
        source: The model's files.
        choices: What the user says; it wins over everything.
        strategy: A name of :func:`strategies`, a JSON file's, or one; it wins over registry and
            files.

    Raises:
        RecipeError: Pooling, attention, length or which of several prompts is for queries is said
            by nobody, files contradict each other, or the folder holds a module that we do not
            build.
    """
    own = source_choices(source)
    found = registered(source.base).over(own)
    if strategy is not None:
        way = find_strategy(strategy)
        check_strategy(way, (choices or Choices()).over(found).attention, source)
        shape = _shape(source.folder)
        if way.chat:
            shape = replace(shape, converse=_conversing(source.folder))
        chosen = way.choose(shape)
        if chosen.query_prompt is not None:
            found = replace(found, instruction_template=None)  # it belongs to the prompt that goes
        found = chosen.over(found)
        if way.words and {found.query_prompt, found.passage_prompt} <= {None, _BARE}:
            found = _behind_space(source.folder).over(found)
    said = (choices or Choices()).over(found)
    if said.query_prompt is None:
        check_query(source.folder)
    return said.recipe(source)


def _shape(folder: Path) -> ModelSize:
    """Return what strategies are fitted to.

    Raises:
        RecipeError: ``config.json`` does not say it.
    """
    config = settings(folder / "config.json")
    found = (count(config.get(name)) for name in _DEPTHS)
    layers = next((number for number in found if number is not None), None)
    words = count(config.get("vocab_size"))
    if layers is None or words is None:
        raise RecipeError(f"{folder / 'config.json'} lacks num_hidden_layers or vocab_size")
    return ModelSize(layers=layers, vocabulary=words)


def _behind_space(folder: Path) -> Choices:
    """Return the prompts of words, if the vocabulary wants a space before them."""
    if not wants_space(load_tokenizer(folder)):
        return Choices()
    return Choices(query_prompt=_SPACED, passage_prompt=_SPACED)


def _conversing(folder: Path) -> Callable[[str, str], str] | None:
    """Return what writes conversations for a model, if it has a template for them."""
    tokenizer = load_tokenizer(folder)
    chat = chat_template(folder, tokenizer)
    if chat is None:
        return None
    return lambda system, user: without_start(conversation(chat, user, system=system), tokenizer)


def source_choices(source: ModelFiles) -> Choices:
    """Return what the files of a model and of its adapters say.

    Of a folder that sentence-transformers and LLM2Vec both describe, the former says all but the
    attention, which it has no word for.

    Raises:
        RecipeError: As :func:`folder_choices` and :func:`llm2vec_choices`.
    """
    own = folder_choices(source.folder)
    if (source.folder / RECIPE_FILE).exists():
        return own
    theirs = llm2vec_choices(source.folder, source.adapters)
    if theirs is None:
        return own
    if (source.folder / "modules.json").exists():
        return replace(own, attention=theirs.attention)
    lengths = [n for n in (own.max_tokens, theirs.max_tokens) if n is not None]
    return replace(theirs, max_tokens=min(lengths)).over(own)


def folder_choices(folder: Path) -> Choices:
    """Return what a model's own files say.

    Raises:
        RecipeError: A file is damaged, or names a module or mode that we do not build.
    """
    if (written := read_choices(folder)) is not None:
        return written
    config = settings(folder / "config.json")
    if not isinstance(kind := config.get("model_type"), str | None):
        raise RecipeError(f"{folder / 'config.json'}: model_type {kind!r} is no name")
    latent_heads = None
    if config.get("model_type") == "nvembed":
        latent_heads = count(part(config, "latent_attention_config").get("num_cross_heads"))
        config = part(config, "text_config")
    own = Choices(
        attention=said_attention(config),
        max_tokens=_max_tokens(folder, config),
        eos=_eos(folder),
        latent_heads=latent_heads,
    )
    if not (folder / "modules.json").exists():
        return own
    check_lower_case(folder)
    return sentence_modules(folder).over(said_prompts(folder)).over(said_width(folder)).over(own)


def pad_id(folder: Path) -> int:
    """Return the id that fills padded positions; any id does, the mask hides it."""
    return count(settings(folder / "config.json").get("pad_token_id")) or 0


def _max_tokens(folder: Path, config: Object) -> int | None:
    limits = [
        settings(folder / "sentence_bert_config.json", required=False).get("max_seq_length"),
        settings(folder / "tokenizer_config.json", required=False).get("model_max_length"),
    ]
    said = next((n for n in map(count, limits) if n is not None and n < _LENGTH_LIMIT), None)
    longest = count(config.get("max_position_embeddings")) or count(config.get("n_positions"))
    if longest is None:
        return said
    room = longest_text(config.get("model_type"), config.get("pad_token_id"), longest)
    return min(said or room, room)


def _eos(folder: Path) -> str | None:
    """Return the token that the folder wants at every end.

    Transformers up to 4 obeyed ``add_eos_token``; from 5 on it reads ``tokenizer.json`` alone,
    which for e5-mistral and its kin adds nothing: last-token pooling then reads the last word.
    """
    config = settings(folder / "tokenizer_config.json", required=False)
    token = config.get("eos_token")
    if isinstance(token, dict):
        token = cast("Object", token).get("content")
    return token if config.get("add_eos_token") is True and isinstance(token, str) else None
