"""Merge LoRA adapters in peft's format into a model's weights, one after the other.

LLM2Vec publishes its models so: a base model, an adapter that made it bidirectional (MNTP), and
one that made it an embedder (SimCSE or supervised). After merging there is only a plain model.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..errors import RecipeError, need
from ..sources.weight_files import check_finite_weights, check_weight_file

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


def _merge(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    peft = need("peft", extra="export")
    for path in sorted(folder.glob("adapter_model.*")):
        if path.suffix in (".safetensors", ".bin"):
            check_weight_file(path)
    try:
        stored = cast("dict[str, Tensor]", peft.utils.load_peft_weights(str(folder), device="cpu"))
        with warnings.catch_warnings():
            # Warnings of peft that matter are errors below; the others are its own deprecations.
            warnings.simplefilter("ignore")
            wrapped = peft.PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RecipeError(f"{folder} does not load as a LoRA adapter: {error}") from error
    check_finite_weights(stored.items(), folder)
    # peft only warns of tensors that match no layer, and the model would stay without them.
    loaded = peft.get_peft_model_state_dict(wrapped)
    if strange := sorted(set(stored) ^ set(loaded)):
        raise RecipeError(
            f"{folder} does not fit the model: {strange[0]!r} and {len(strange) - 1} more tensors "
            "are on one side only; was the adapter trained on this model and this class?"
        )
    return cast("PreTrainedModel", wrapped.merge_and_unload())
