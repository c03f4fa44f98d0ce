"""Find the adapters that have to be merged before an adapter.

peft writes into ``adapter_config.json`` the name of the model that an adapter was trained on. That
may be a folder that is an adapter itself. LLM2Vec merges its first adapter (MNTP) before it trains
the next, and peft then writes the name of the bare model, so the file does not name the first
adapter. Such adapters are recognised by LLM2Vec's names for them (``…-mntp-supervised``) or by
``llm2vec_config.json``, which only its contrastive training writes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import json_records
from ..errors import RecipeError
from .config_files import LLM2VEC_CONFIG

ADAPTER_SETTINGS = "adapter_config.json"
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
# train_configs/mntp of its repository: the base models of the published first adapters.
_PUBLISHED = {
    "McGill-NLP/LLM2Vec-Meta-Llama-3-8B-Instruct-mntp": "meta-llama/Meta-Llama-3-8B-Instruct",
    "McGill-NLP/LLM2Vec-Mistral-7B-Instruct-v2-mntp": "mistralai/Mistral-7B-Instruct-v0.2",
    "McGill-NLP/LLM2Vec-Llama-2-7b-chat-hf-mntp": "meta-llama/Llama-2-7b-chat-hf",
    "McGill-NLP/LLM2Vec-Sheared-LLaMA-mntp": "princeton-nlp/Sheared-LLaMA-1.3B",
}
_UNNAMED = "MNTP_ADAPTER"
_SECOND = re.compile(r"(.*-mntp)-(?:unsup-simcse|supervised)/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterChain:
    """A model and the adapters on it, in the order of their training.

    Args:
        base: The model at the bottom; None if no file names it.
        adapters: The lower adapters, and the last one; a placeholder replaces a folder that no file
            names.
        guessed: Whether there is such a placeholder.
    """

    base: str | None
    adapters: tuple[str, ...]
    guessed: bool = False


def is_adapter_alone(folder: Path) -> bool:
    """Return whether a folder holds an adapter and no weights of a model."""
    return (folder / ADAPTER_SETTINGS).is_file() and not any(
        found for pattern in _WEIGHTS for found in folder.glob(pattern)
    )


def adapter_chain(folder: Path, name: str) -> AdapterChain:
    """Follow the base models of adapters down to a model that is no adapter.

    Args:
        folder: An adapter's folder.
        name: The user's name for it: that folder, or a hub id.

    Raises:
        RecipeError: A file is damaged, or adapters name each other in a circle.
    """
    chain = [name]
    lowest, base = folder, _named(folder)
    while (below := _below(lowest, chain[0])) is not None:
        if below in chain:
            raise RecipeError(
                f"the adapters {', '.join(chain)} name each other as the model that they were "
                f"trained on; correct base_model_name_or_path in their {ADAPTER_SETTINGS}"
            )
        chain.insert(0, below)
        lowest = Path(below)
        base = _PUBLISHED.get(below) or _named(lowest)
    second = (lowest / LLM2VEC_CONFIG).exists() or _SECOND.fullmatch(chain[0]) is not None
    first = (_UNNAMED,) if second else ()
    return AdapterChain(base=base, adapters=(*first, *chain), guessed=second)


def check_chain(model: str, folder: Path, adapters: Sequence[str]) -> None:
    """Refuse an adapter on the bare model if it was trained on top of another adapter.

    A model into which that adapter was merged has another name, and is accepted.

    Args:
        model: The user's argument for the model.
        folder: The first adapter's folder.
        adapters: The user's argument for the adapters.

    Raises:
        RecipeError: The message names all adapters that have to be merged.
    """
    name, *_ = adapters
    chain = adapter_chain(folder, name)
    if chain.guessed or len(chain.adapters) < 2 or not _same(model, chain.base):
        return
    if any(_same(adapter, chain.adapters[-2]) for adapter in adapters):
        return
    listed = list(dict.fromkeys((*chain.adapters, *adapters)))
    raise RecipeError(
        f"{name} was trained on {model} with the adapter {chain.adapters[-2]} merged, which is not "
        f"among the adapters; pass all of them, find_model({model!r}, adapters={listed!r}) or "
        f"`decant export {model} TARGET {_options(listed)}`"
    )


def whole_command(chain: AdapterChain, more: tuple[str, ...] = ()) -> str:
    """Return the call and the command that pass a chain, and ``more`` adapters on it."""
    listed = list(dict.fromkeys((*chain.adapters, *more)))
    base = chain.base or "BASE"
    return (
        f"find_model({base!r}, adapters={listed!r}), or `decant export {base} TARGET "
        f"{_options(listed)}`"
    )


def _options(adapters: list[str]) -> str:
    return " ".join(f"--adapter {adapter}" for adapter in adapters)


def _named(folder: Path) -> str | None:
    if not (folder / ADAPTER_SETTINGS).is_file():
        return None
    said = json_records.read_object(folder / ADAPTER_SETTINGS, error=RecipeError)
    base = said.get("base_model_name_or_path")
    return base if isinstance(base, str) and base else None


def _below(folder: Path, name: str) -> str | None:
    """Return the adapter directly below one; None if, by the files, that is the model."""
    named = _named(folder)
    if named in _PUBLISHED or (named is not None and is_adapter_alone(Path(named))):
        return named
    second = _SECOND.fullmatch(name)
    if second is None:
        return None
    first = second[1]
    if first in _PUBLISHED or is_adapter_alone(Path(first)):
        return first
    published = f"McGill-NLP/{Path(first).name}"
    return published if published in _PUBLISHED else None


def _same(model: str, base: str | None) -> bool:
    if base is None:
        return False
    return model == base or (Path(model).exists() and Path(model).resolve() == Path(base).resolve())


def check_not_adapter(folder: Path, model: str, *, adapters: Sequence[str] = ()) -> None:
    """Refuse a folder that was passed as a model and holds an adapter alone.

    Args:
        folder: The folder.
        model: The user's name for it.
        adapters: The adapters that the user wants merged into it.

    Raises:
        RecipeError: The message names the adapter's model, and how to pass it with every adapter.
    """
    if not is_adapter_alone(folder):
        return
    chain = adapter_chain(folder, model)
    kind = chain.base or "a model that its adapter_config.json does not name"
    below = chain.adapters[:-1]
    trained = f" with the adapter {below[-1]} merged" if below and not chain.guessed else ""
    first = (
        "; LLM2Vec trains it on the model with its first adapter (MNTP) merged, which no file "
        "names: put that for MNTP_ADAPTER"
        if chain.guessed
        else ""
    )
    raise RecipeError(
        f"{model} holds an adapter (peft) of {kind}{trained}, and no weights of a model; pass the "
        f"model and its adapters: {whole_command(chain, tuple(adapters))}{first}"
    )
