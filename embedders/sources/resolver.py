"""Find the recipe of a model, and raise an error if no source specifies a part of it.

The user's choices come first, then a strategy, the registry, and the folder's own files.

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
from .choices import Choices, registry_choices
from .config_files import Object, count, part, settings
from .find import ModelFiles
from .known_strategies import find_strategy
from .llm2vec import llm2vec_choices
from .multi_vector.folders import found_token_vectors
from .multi_vector.found import FoundTokenVectors
from .positions import longest_text
from .recipe_file import RECIPE_FILE, read_choices
from .st_modules import sentence_modules
from .st_settings import check_lower_case, check_query, read_prompts, read_width
from .strategy import ModelSize, Strategy, check_strategy

# Transformers maps all of these to the first name: those of GPT-2 and BLOOM, GPT-Neo, MPT,
# DistilBERT.
_DEPTHS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_BARE = "{text}"
_SPACED = " {text}"
_LENGTH_LIMIT = 10**6  # tokenizers without a limit have 10**30


def resolve(
    source: ModelFiles, choices: Choices | None = None, *, strategy: str | Strategy | None = None
) -> Recipe:
    """Return the recipe of a model.

    Args:
        source: The model's files.
        choices: The user's choices; they override everything.
        strategy: A name of :func:`strategies`, the path of a JSON file, or a :class:`Strategy`; it
            overrides registry and files.

    Raises:
        RecipeError: No source specifies pooling, attention, length or the prompt for queries,
            files contradict each other, or the folder holds a module that decant does not
            support.
    """
    own = source_choices(source)
    found = registry_choices(source.base).over(own)
    if strategy is not None:
        way = find_strategy(strategy)
        check_strategy(way, (choices or Choices()).over(found).attention, source)
        shape = _shape(source.folder)
        if way.chat:
            shape = replace(shape, converse=_conversing(source.folder))
        chosen = way.choose(shape)
        if chosen.query_prompt is not None:
            found = replace(
                found, instruction_template=None
            )  # the template belongs to the prompt that the strategy replaces
        found = chosen.over(found)
        if way.words and {found.query_prompt, found.passage_prompt} <= {None, _BARE}:
            found = _behind_space(source.folder).over(found)
    said = (choices or Choices()).over(found)
    if said.query_prompt is None:
        check_query(source.folder)
    return said.recipe(source)


def _shape(folder: Path) -> ModelSize:
    """Return the size of a model, to which strategies are fitted.

    Raises:
        RecipeError: ``config.json`` does not state it.
    """
    config = settings(folder / "config.json")
    found = (count(config.get(name)) for name in _DEPTHS)
    layers = next((number for number in found if number is not None), None)
    words = count(config.get("vocab_size"))
    if layers is None or words is None:
        raise RecipeError(f"{folder / 'config.json'} lacks num_hidden_layers or vocab_size")
    return ModelSize(layers=layers, vocabulary=words, width=count(config.get("hidden_size")))


def _behind_space(folder: Path) -> Choices:
    """Return prompts that put a space before single words, if the vocabulary needs it."""
    if not wants_space(load_tokenizer(folder)):
        return Choices()
    return Choices(query_prompt=_SPACED, passage_prompt=_SPACED)


def _conversing(folder: Path) -> Callable[[str, str], str] | None:
    """Return a function that writes conversations for a model; None without a chat template."""
    tokenizer = load_tokenizer(folder)
    chat = chat_template(folder, tokenizer)
    if chat is None:
        return None
    return lambda system, user: without_start(conversation(chat, user, system=system), tokenizer)


def source_choices(source: ModelFiles) -> Choices:
    """Return the choices in the files of a model and of its adapters.

    If both sentence-transformers and LLM2Vec describe a folder, the former specifies everything but
    the attention, for which it has no setting.

    Raises:
        RecipeError: As in :func:`folder_choices` and :func:`llm2vec_choices`.
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
    """Return the choices in a model's own files.

    Raises:
        RecipeError: A file is damaged, or names a module or mode that decant does not support.
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
        max_tokens=longest_input(folder, config),
        eos=_eos(folder),
        latent_heads=latent_heads,
    )
    if (vectors := found_token_vectors(folder)) is not None:
        return _with_token_vectors(vectors).over(own)
    if not (folder / "modules.json").exists():
        return own
    check_lower_case(folder)
    return sentence_modules(folder).over(read_prompts(folder)).over(read_width(folder)).over(own)


def _with_token_vectors(found: FoundTokenVectors) -> Choices:
    """Return the choices of a model of token vectors; it says nothing of a dense vector."""
    return Choices(
        late_interaction=found.late,
        token_embeddings=True,
        query_prompt=found.query_prompt,
        passage_prompt=found.passage_prompt,
        max_tokens=_longest(found),
    )


def _longest(found: FoundTokenVectors) -> int | None:
    """Return the longest input: a passage's or a query's, which is limited by itself."""
    lengths = (found.passage_tokens, found.late.longest_query)
    return None if found.passage_tokens is None else max(one for one in lengths if one is not None)


def pad_id(folder: Path) -> int:
    """Return the token id of padded positions; any id will do, because the mask hides it."""
    return count(settings(folder / "config.json").get("pad_token_id")) or 0


def longest_input(folder: Path, config: Object) -> int | None:
    """Return how many tokens an input of a folder's model may have; None if no file says it.

    Args:
        folder: The model's folder.
        config: Its ``config.json``.
    """
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
    """Return the token that the folder's settings append to every input.

    Transformers up to 4 obeyed ``add_eos_token``. From 5 on it reads ``tokenizer.json`` alone,
    which appends nothing for e5-mistral and similar models, so last-token pooling would read the
    last word.
    """
    config = settings(folder / "tokenizer_config.json", required=False)
    token = config.get("eos_token")
    if isinstance(token, dict):
        token = cast("Object", token).get("content")
    return token if config.get("add_eos_token") is True and isinstance(token, str) else None
