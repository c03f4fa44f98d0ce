"""Read the folders of sentence-transformers' MultiVectorEncoder, and of PyLate before it.

Supported are a Transformer, one Dense on the tokens, MultiVectorMask and Normalize; other modules
and settings are refused by name, because ignoring them would give other vectors.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from ... import json_records
from ...errors import RecipeError
from ...recipe.dense import Dense
from ...recipe.late_interaction import LateInteraction, QueryExpansion
from ...tokens.load import load_tokenizer
from .found import PUNCTUATION, FoundTokenVectors, markers, mask_token

_SETTINGS, _TRANSFORMER = "config_sentence_transformers.json", "sentence_bert_config.json"
_PYLATE = "ColBERT"
_KINDS = ("MultiVectorEncoder", _PYLATE)
_TOKENS = "token_embeddings"
_QUERY_TOKENS = 32  # PyLate's default
_PASSAGES = ("document", "passage", "corpus")

Object = dict[str, object]


def is_multi_vector(folder: Path) -> bool:
    """Return whether a folder was saved by MultiVectorEncoder or PyLate."""
    return _read(folder / _SETTINGS).get("model_type") in _KINDS


def read_multi_vector(folder: Path) -> FoundTokenVectors:
    """Return what such a folder says.

    Raises:
        RecipeError: A file is damaged, or names a module or a setting that decant does not support.
    """
    config, transformer = _read(folder / _SETTINGS), _read(folder / _TRANSFORMER)
    is_pylate = config.get("model_type") == _PYLATE
    query, passage = _prompts(config)
    projection: Dense | None = None
    # PyLate before 4 masks and normalises outside of its modules.
    normalize, skipped = is_pylate, _words(config.get("skiplist_words"))
    if is_pylate and "skiplist_words" not in config:
        skipped = PUNCTUATION
    for kind, path in _modules(folder):
        file = folder / path / "config.json"
        held = _read(file)
        match kind:
            case "Transformer":
                continue
            case "Dense" if projection is None:
                projection = _dense(held, path, file)
            case "MultiVectorMask":
                skipped = _skipped(held, file)
            case "Normalize":
                _check_tokens(held, file)
                normalize = True
            case _:
                raise RecipeError(
                    f"{folder}: modules.json names a {kind} module on token vectors, which decant "
                    "does not support; supported are Transformer, one Dense, MultiVectorMask and "
                    "Normalize. To store fewer vectors of each passage, give the collection "
                    "TokenVectors(pool_to=…)"
                )
    registered = ("query_prefix" in config) or ("document_prefix" in config)
    tokenizer = load_tokenizer(folder) if registered else None
    return FoundTokenVectors(
        late=LateInteraction(
            projection=projection,
            normalize=normalize,
            markers=() if tokenizer is None else markers(tokenizer, (query, passage)),
            expansion=(expansion := _expansion(folder, config, transformer)),
            query_tokens=_query_tokens({**config, **transformer}, expansion),
            skipped=skipped,
        ),
        query_prompt=f"{query}{{text}}",
        passage_prompt=f"{passage}{{text}}",
        passage_tokens=_count(transformer.get("document_length", config.get("document_length"))),
    )


def _modules(folder: Path) -> list[tuple[str, str]]:
    """Return the class and the path of each module."""
    listed = json_records.read_json(folder / "modules.json", error=RecipeError)
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise RecipeError(f"{folder / 'modules.json'} should hold a list of objects")
    entries = cast("list[Object]", listed)
    return [(str(one.get("type")).rpartition(".")[2], str(one.get("path", ""))) for one in entries]


def _dense(held: Object, path: str, file: Path) -> Dense:
    inputs, outputs = held.get("in_features"), held.get("out_features")
    if not isinstance(inputs, int) or not isinstance(outputs, int):
        raise RecipeError(f"{file} lacks in_features or out_features")
    if not str(held.get("activation_function", "Identity")).endswith("Identity"):
        raise RecipeError(
            f"{file} has activation_function {held['activation_function']!r}; a projection of "
            "tokens has none"
        )
    if held.get("use_residual", False) is not False:
        raise RecipeError(f"{file} has use_residual; a projection of tokens is W x + b alone")
    _check_tokens(held, file)
    bias = held.get("bias", True) is True
    return Dense(path=path, inputs=inputs, outputs=outputs, bias=bias)


def _check_tokens(held: Object, file: Path) -> None:
    """Refuse a module that reads or writes anything but token vectors."""
    for key in ("module_input_name", "module_output_name"):
        if held.get(key) not in (None, _TOKENS):
            raise RecipeError(
                f"{file} has {key} {held[key]!r}; in a model of token vectors decant supports "
                f"modules on {_TOKENS!r} alone"
            )


def _skipped(held: Object, file: Path) -> tuple[str, ...]:
    words = _words(held.get("skiplist_words"))
    tasks = held.get("skiplist_tasks", ["document"])
    if words and tasks != ["document"]:
        raise RecipeError(f"{file} skips tokens of {tasks}; decant skips those of passages alone")
    if held.get("keep_only_token_ids"):
        raise RecipeError(f"{file} keeps tokens of images alone, and decant reads texts")
    return words


def _words(said: object) -> tuple[str, ...]:
    return tuple(map(str, said)) if isinstance(said, list) else ()


def _expansion(folder: Path, config: Object, transformer: Object) -> QueryExpansion | None:
    is_pylate = config.get("model_type") == _PYLATE
    said = transformer.get("query_expansion", config.get("query_expansion"))
    if isinstance(said, dict):
        given = cast("Object", said)
        length = _count(given.get("length"))
        if length is None or given.get("strategy") not in ("fixed", "min"):
            raise RecipeError(f"query_expansion {given!r} is not sentence-transformers' form")
        token = given.get("token")
        return QueryExpansion(
            length=length,
            token=mask_token(folder) if token is None else str(token),
            attended=given.get("attend") is True,
            cut=given.get("strategy") == "fixed",
        )
    if not is_pylate or config.get("do_query_expansion") is False:
        return None
    attend = config.get("attend_to_expansion_tokens", config.get("attend_to_mask_tokens"))
    length = _count(config.get("query_length")) or _QUERY_TOKENS
    return QueryExpansion(length=length, token=mask_token(folder), attended=attend is True)


def _query_tokens(said: Object, expansion: QueryExpansion | None) -> int | None:
    if expansion is not None and expansion.cut:
        return None
    return _count(said.get("query_length"))


def _prompts(config: Object) -> tuple[str, str]:
    """Return the strings before queries and passages, PyLate's prefixes before the prompts."""
    held = config.get("prompts")
    prompts = cast("Object", held) if isinstance(held, dict) else {}
    default = str(prompts.get(str(config.get("default_prompt_name"))) or "")
    query = str(prompts.get("query", default) or "")
    named = (prompts[name] for name in _PASSAGES if name in prompts)
    passage = str(next(named, default) or "")
    found = []
    for key, prompt in (("query_prefix", query), ("document_prefix", passage)):
        prefix = str(config.get(key) or "")
        found.append(prefix + prompt.removeprefix(prefix))
    return found[0], found[1]


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _read(path: Path) -> Object:
    return json_records.read_object(path, error=RecipeError) if path.exists() else {}
