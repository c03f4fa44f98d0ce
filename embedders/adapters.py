"""Merge LoRA adapters in peft's format into a model's weights, one after the other.

LLM2Vec publishes its models so: a base model, an adapter that made it bidirectional (MNTP), and
one that made it an embedder (SimCSE or supervised). After merging there is only a plain model.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .adapter_chain import adapter_chain, is_adapter_alone, whole_command
from .errors import RecipeError, need
from .weights import check_finite_weights, check_weight_file

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def merge_adapters(model: PreTrainedModel, adapters: Sequence[Path]) -> PreTrainedModel:
    """Return ``model`` with every adapter merged: ``W + (alpha / r) B A`` per adapted matrix.

    Args:
        model: The model that the first adapter was trained on; it is changed.
        adapters: Folders with ``adapter_config.json`` and weights, in the order of training.

    Raises:
        RecipeError: A folder is no adapter, or does not fit the model.
        MissingExtra: peft is not installed.
    """
    for folder in adapters:
        model = _merge(model, folder)
    return model


def check_not_adapter(folder: Path, model: str, *, adapters: Sequence[str] = ()) -> None:
    """Refuse a folder that is asked for as a model and holds an adapter alone.

    Args:
        folder: The folder.
        model: What the user calls it.
        adapters: What the user wants merged into it.

    Raises:
        RecipeError: Says which model it belongs to, and how that is passed with every adapter.
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
        f"model and the adapters beside it: {whole_command(chain, tuple(adapters))}{first}"
    )


def _merge(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    peft = need("peft", extra="export")
    for path in sorted(folder.glob("adapter_model.*")):
        if path.suffix in (".safetensors", ".bin"):
            check_weight_file(path)
    try:
        stored = cast("dict[str, Tensor]", peft.utils.load_peft_weights(str(folder), device="cpu"))
        with warnings.catch_warnings():
            # What it warns of that matters is an error below; the rest is its own deprecations.
            warnings.simplefilter("ignore")
            wrapped = peft.PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RecipeError(f"{folder} does not load as a LoRA adapter: {error}") from error
    check_finite_weights(stored.items(), folder)
    # peft only warns of tensors that match no layer; the model would be the one without them.
    loaded = peft.get_peft_model_state_dict(wrapped)
    if strange := sorted(set(stored) ^ set(loaded)):
        raise RecipeError(
            f"{folder} does not fit the model: {strange[0]!r} and {len(strange) - 1} more tensors "
            "are on one side only; was the adapter trained on this model and this class?"
        )
    return cast("PreTrainedModel", wrapped.merge_and_unload())
