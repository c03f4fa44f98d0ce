"""Find the recipe of a model, and fail loudly where nothing says a part of it.

What the user says comes first, then a strategy, our registry, and the folder's own files.

Only JSON files are read here, no weights. The folder formats are sentence-transformers' (both
schemas: up to 5 with ``pooling_mode_*`` booleans, from 6 with ``pooling_mode``) and Transformers'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, cast

from . import jsonio
from .choices import Choices, registered
from .conversing import chat_template, conversation, without_start
from .errors import RecipeError
from .known_strategies import find_strategy
from .recipe import Activation, Attention, Dense, Pooling, Recipe, Span
from .recipe_file import read_choices
from .source import Source
from .strategy import Shape, Strategy, check_strategy
from .tokenizer_file import load_tokenizer
from .weighted_layers import check_linear, weighted_layers

Object: TypeAlias = dict[str, object]

_POOLINGS = {
    "cls": Pooling.FIRST,
    "mean": Pooling.MEAN,
    "max": Pooling.MAX,
    "mean_sqrt_len_tokens": Pooling.MEAN_SQRT,
    "weightedmean": Pooling.WEIGHTED_MEAN,
    "lasttoken": Pooling.LAST,
}
_LEGACY_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS = {
    "Identity": Activation.IDENTITY,
    "Tanh": Activation.TANH,
    "ReLU": Activation.RELU,
    "GELU": Activation.GELU,
}
_BIDIRECTIONAL_TYPES = {
    "albert", "bert", "bidir_mistral", "camembert", "deberta", "deberta-v2", "distilbert",
    "electra", "ernie", "eurobert", "modernbert", "mpnet", "nomic_bert", "roberta", "roformer",
    "xlm-roberta",
}  # fmt: skip
_CAUSAL_TYPES = {
    "bloom", "falcon", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neo", "gpt_neox", "gptj",
    "granite", "llama", "mistral", "olmo2", "opt", "phi", "phi3", "qwen2", "qwen3", "smollm3",
}  # fmt: skip
_LENGTH_LIMIT = 10**6  # tokenizers without a limit say 10**30


def resolve(
    source: Source, choices: Choices | None = None, *, strategy: str | Strategy | None = None
) -> Recipe:
    """Return the recipe of a model.

    Args:
        source: The model's files.
        choices: What the user says; it wins over everything.
        strategy: A name of :func:`strategies`, a JSON file's, or one; it wins over registry and
            files.

    Raises:
        RecipeError: Pooling, attention or length is said by nobody, files contradict each other,
            or the folder holds a module that we do not build.
    """
    own = folder_choices(source.folder)
    found = registered(source.base).over(own)
    if strategy is not None:
        way = find_strategy(strategy)
        check_strategy(way, (choices or Choices()).over(found).attention, source)
        shape = _shape(source.folder)
        if way.chat:
            shape = replace(shape, converse=_conversing(source.folder))
        chosen = way.choose(shape)
        if chosen.query is not None:
            found = replace(found, instruction=None)  # it belongs to the prompt that goes
        found = chosen.over(found)
    return (choices or Choices()).over(found).recipe(source)


def _shape(folder: Path) -> Shape:
    """Return what strategies are fitted to.

    Raises:
        RecipeError: ``config.json`` does not say it.
    """
    config = _object(folder / "config.json")
    layers, words = (_count(config.get(name)) for name in ("num_hidden_layers", "vocab_size"))
    if layers is None or words is None:
        raise RecipeError(f"{folder / 'config.json'} lacks num_hidden_layers or vocab_size")
    return Shape(layers=layers, vocabulary=words)


def _conversing(folder: Path) -> Callable[[str, str], str] | None:
    """Return what writes conversations for a model, if it has a template for them."""
    tokenizer = load_tokenizer(folder)
    chat = chat_template(folder, tokenizer)
    if chat is None:
        return None
    return lambda system, user: without_start(conversation(chat, user, system=system), tokenizer)


def folder_choices(folder: Path) -> Choices:
    """Return what a model's own files say.

    Raises:
        RecipeError: A file is damaged, or names a module or mode that we do not build.
    """
    if (written := read_choices(folder)) is not None:
        return written
    config = _object(folder / "config.json")
    latent_heads = None
    if config.get("model_type") == "nvembed":
        latent_heads = _count(_part(config, "latent_attention_config").get("num_cross_heads"))
        config = _part(config, "text_config")
    own = Choices(
        attention=_attention(config),
        max_tokens=_max_tokens(folder, config),
        eos=_eos(folder),
        latent_heads=latent_heads,
    )
    if not (folder / "modules.json").exists():
        return own
    _check_lower_case(folder)
    return _modules(folder).over(_prompts(folder)).over(_cut(folder)).over(own)


def pad_id(folder: Path) -> int:
    """Return the id that fills padded positions; any id does, the mask hides it."""
    return _count(_object(folder / "config.json").get("pad_token_id")) or 0


def _object(path: Path, *, required: bool = True) -> Object:
    if not required and not path.exists():
        return {}
    return jsonio.read_object(path, error=RecipeError)


def _part(config: Object, name: str) -> Object:
    part = config.get(name)
    return cast("Object", part) if isinstance(part, dict) else {}


def _attention(config: Object) -> Attention | None:
    """A model's own switches first (``is_causal``: GTE-Qwen2, Nemotron), then its family's way."""
    kind = config.get("model_type")
    if config.get("is_causal") is False or config.get("use_bidirectional_attention") is True:
        return Attention.BIDIRECTIONAL
    if kind in _BIDIRECTIONAL_TYPES and config.get("is_decoder") is not True:
        return Attention.BIDIRECTIONAL
    return Attention.CAUSAL if kind in _CAUSAL_TYPES else None


def _max_tokens(folder: Path, config: Object) -> int | None:
    limits = [
        _object(folder / "sentence_bert_config.json", required=False).get("max_seq_length"),
        _object(folder / "tokenizer_config.json", required=False).get("model_max_length"),
    ]
    said = next((n for n in map(_count, limits) if n is not None and n < _LENGTH_LIMIT), None)
    longest = _count(config.get("max_position_embeddings")) or _count(config.get("n_positions"))
    if longest is None:
        return said
    room = longest
    if (kind := config.get("model_type")) in _OFFSET_TYPES:
        # They count positions from padding_idx + 1: RoBERTa's 514 embeddings hold 512 tokens.
        padding = config.get("pad_token_id")
        room -= 1 + (padding if isinstance(padding, int) and kind != "mpnet" else 1)
    return min(said or room, room)


_OFFSET_TYPES = {"camembert", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta"}


def _eos(folder: Path) -> str | None:
    """Return the token that the folder wants at every end.

    Transformers up to 4 obeyed ``add_eos_token``; from 5 on it reads ``tokenizer.json`` alone,
    which for e5-mistral and its kin adds nothing: last-token pooling then reads the last word.
    """
    config = _object(folder / "tokenizer_config.json", required=False)
    token = config.get("eos_token")
    if isinstance(token, dict):
        token = cast("Object", token).get("content")
    return token if config.get("add_eos_token") is True and isinstance(token, str) else None


def _count(value: object) -> int | None:
    """Return a positive number as an int; some tools write 512.0 or 1e30."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    return int(value)


def _modules(folder: Path) -> Choices:
    """Read ``modules.json``: Transformer, perhaps layers, Pooling, any Dense and Normalize."""
    listed = jsonio.read_json(folder / "modules.json", error=RecipeError)
    if not isinstance(listed, list):
        raise RecipeError(f"{folder / 'modules.json'} should hold a list")
    found = Choices(normalize=False)
    head: list[Dense] = []
    for entry in cast("list[Object]", listed):
        name, path = str(entry.get("type")).rpartition(".")[2], str(entry.get("path", ""))
        if found.normalize:
            raise RecipeError(f"{folder}: a {name} module after Normalize is not supported")
        match name:
            case "Transformer" | "Dropout":
                pass
            case "Pooling":
                found = _pooling(folder / path / "config.json").over(found)
            case "WeightedLayerPooling":
                found = weighted_layers(folder, path).over(found)
            case "Dense":
                head.append(_dense(folder, path))
            case "Normalize":
                found = Choices(normalize=True).over(found)
            case _:
                raise RecipeError(
                    f"{folder}: modules.json names a {name} module, which decant does not build; "
                    "supported are Transformer, WeightedLayerPooling, Pooling, Dense and "
                    "Normalize"
                )
    check_linear(found)
    return Choices(head=tuple(head)).over(found)


def _pooling(path: Path) -> Choices:
    config = _object(path)
    mode = config.get("pooling_mode")
    modes = mode if isinstance(mode, list) else [] if mode is None else [mode]
    if mode is None:
        modes = [name for key, name in _LEGACY_POOLINGS.items() if config.get(key) is True]
    names = [str(item) for item in modes]
    if len(names) != 1 or names[0] not in _POOLINGS:
        raise RecipeError(
            f"{path} asks for the pooling {names}; decant builds exactly one of "
            f"{', '.join(_POOLINGS)}"
        )
    span = Span.TEXT if config.get("include_prompt") is False else Span.ALL
    return Choices(pooling=_POOLINGS[names[0]], span=span)


def _dense(folder: Path, path: str) -> Dense:
    config = _object(folder / path / "config.json")
    name = str(config.get("activation_function", "Identity")).rpartition(".")[2]
    if name not in _ACTIVATIONS:
        raise RecipeError(
            f"{folder / path}: activation {name!r} is none of {', '.join(_ACTIVATIONS)}"
        )
    inputs, outputs = config.get("in_features"), config.get("out_features")
    if not isinstance(inputs, int) or not isinstance(outputs, int):
        raise RecipeError(f"{folder / path / 'config.json'} lacks in_features or out_features")
    return Dense(
        path=path,
        inputs=inputs,
        outputs=outputs,
        bias=config.get("bias", True) is True,
        activation=_ACTIVATIONS[name],
    )


def _prompts(folder: Path) -> Choices:
    """Read prompts by sentence-transformers' names.

    encode_query reads ``query``; encode_document the first of ``document``, ``passage`` and
    ``corpus``; either falls back to the default prompt.
    """
    config = _object(folder / "config_sentence_transformers.json", required=False)
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise RecipeError(f"{folder / 'config_sentence_transformers.json'}: prompts is no object")
    default = prompts.get(config.get("default_prompt_name"), "")
    passage = next(
        (prompts[name] for name in ("document", "passage", "corpus") if name in prompts), default
    )
    return Choices(query=f"{prompts.get('query', default)}{{text}}", passage=f"{passage}{{text}}")


def _cut(folder: Path) -> Choices:
    """Read ``truncate_dim``: sentence-transformers cuts its vectors to so many values.

    It cuts after Normalize and gives shorter vectors; ours are cut before it, which changes their
    length and no cosine.
    """
    path = folder / "config_sentence_transformers.json"
    said = _object(path, required=False).get("truncate_dim")
    if said is not None and _count(said) is None:
        raise RecipeError(f"{path}: truncate_dim is a positive number or null, got {said!r}")
    return Choices(dim=_count(said))


def _check_lower_case(folder: Path) -> None:
    config = _object(folder / "sentence_bert_config.json", required=False)
    if config.get("do_lower_case") is not True or not (folder / "tokenizer.json").exists():
        return
    text = (folder / "tokenizer.json").read_text(encoding="utf-8").replace(" ", "")
    if '"lowercase":true' not in text and '"type":"Lowercase"' not in text:
        raise RecipeError(
            f"{folder} lower-cases texts outside its tokenizer (do_lower_case), and decant never "
            "alters texts; add a Lowercase normalizer to its tokenizer.json"
        )
