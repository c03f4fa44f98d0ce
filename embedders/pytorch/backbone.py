"""Load the Transformers model of a folder, in float32 and without remote code.

If a folder names code of its own, Transformers would ask on the terminal whether to run it, unless
the caller decides; decant always decides no.

Of an encoder with a decoder (T5: sentence-t5, GTR; T5Gemma) the encoder is taken. NV-Embed's
folders name their own classes, which consist of a plain Mistral and a latent attention; decant
loads these two parts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    T5GemmaConfig,
    T5GemmaEncoderModel,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_FOR_TEXT_ENCODING_MAPPING,
)

from .. import json_records
from ..errors import RecipeError
from ..recipe.enums import Attention
from ..sources.config_files import settings
from ..sources.weight_files import check_weights, readable
from ..tokens.load import NO_CODE
from .attention_mask import apply_attention

# Transformers raises these for files with wrong types; it checks few types itself.
_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    StrictDataclassError,
)

_Loader: TypeAlias = type[
    AutoModel
    | AutoModelForCausalLM
    | AutoModelForMaskedLM
    | AutoModelForSequenceClassification
    | AutoModelForTextEncoding
]

_Parts: TypeAlias = frozenset[str]
# The parts of a model whose weights a folder must have.
_BASE: _Parts = frozenset({"model"})
_ALL: _Parts = frozenset({"model", "pooler", "head"})


def load_backbone(folder: Path, attention: Attention) -> PreTrainedModel:
    """Load a folder's base model, in evaluation mode.

    Args:
        folder: A Transformers or sentence-transformers folder.
        attention: The recipe's direction; the model's masks are set to it.

    Raises:
        RecipeError: The folder does not load, or lacks weights.
    """

    def kind(config: PretrainedConfig) -> _Loader:
        if isinstance(config, T5GemmaConfig):
            config.is_encoder_decoder = False  # the encoder's class requires this flag
            return AutoModelForTextEncoding
        if not config.is_encoder_decoder:
            return AutoModel
        if type(config) not in MODEL_FOR_TEXT_ENCODING_MAPPING:
            raise RecipeError(
                f"{folder} holds a {config.model_type} model, an encoder with a decoder, for which "
                "Transformers has no class for the encoder alone; T5 models have one"
            )
        return AutoModelForTextEncoding

    model = _load(folder, attention, kind)
    if isinstance(model, T5GemmaEncoderModel):
        return cast(
            "PreTrainedModel", model.encoder
        )  # the configuration of the encoder is a part of the whole one
    return model


def load_language_model(
    folder: Path, attention: Attention
) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Load a folder's base model with its language-model head, in evaluation mode.

    Args:
        folder: A Transformers folder; its weights hold the head, or tie it to the embeddings.
        attention: The recipe's direction. Bidirectional models whose type has a masked language
            model are loaded as that, all others as causal ones.

    Returns:
            The base model, and the whole model that contains it.

    Raises:
        RecipeError: The folder does not load, or lacks weights of model or head.
    """

    def kind(config: PretrainedConfig) -> _Loader:
        known = type(config) in MODEL_FOR_MASKED_LM_MAPPING
        masked = known and attention is Attention.BIDIRECTIONAL
        return AutoModelForMaskedLM if masked else AutoModelForCausalLM

    whole = _load(folder, attention, kind)
    return cast("PreTrainedModel", whole.base_model), whole


def load_classifier(folder: Path, attention: Attention) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Load a folder's base model with its classifier, in evaluation mode.

    Returns:
        The base model, and the whole model that contains it.

    Raises:
        RecipeError: The folder does not load, or lacks weights of model, pooler or classifier.
    """
    whole = _load(folder, attention, lambda _: AutoModelForSequenceClassification, parts=_ALL)
    return cast("PreTrainedModel", whole.base_model), whole


def new_classifier(folder: Path, attention: Attention) -> PreTrainedModel:
    """Load a folder's base model with a new classifier of one output, in evaluation mode.

    The pooler is the folder's where it has one; torch's generator draws the other weights.

    Raises:
        RecipeError: The folder does not load, lacks weights of the base model, or is of a family
            that has no classifier.
    """

    def kind(config: PretrainedConfig) -> _Loader:
        if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
            raise RecipeError(
                f"{folder} holds a {config.model_type} model, a family for which Transformers has "
                "no classifier; give another model"
            )
        config.num_labels = 1
        return AutoModelForSequenceClassification

    # Transformers would warn of the new weights, and advise to train them.
    log = logging.getLogger("transformers.modeling_utils")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        return _load(folder, attention, kind, parts=_BASE)
    finally:
        log.setLevel(level)


def _load(
    folder: Path,
    attention: Attention,
    kind: Callable[[PretrainedConfig], _Loader],
    *,
    parts: _Parts = frozenset({"model", "head"}),
) -> PreTrainedModel:
    check_weights(folder)
    try:
        config, renamed = _config(folder)
        apply_attention(config, attention)
        with readable(folder):
            loaded = kind(config).from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                key_mapping=renamed,
            )
    except RecipeError:
        raise
    except _DAMAGED as error:
        raise RecipeError(
            f"{folder} does not load as a Transformers model{_own_code(folder)}: {error}"
        ) from error
    model, report = cast("tuple[PreTrainedModel, dict[str, list[str]]]", loaded)
    base = f"{model.base_model_prefix}."
    whole = model.base_model is not model  # its keys begin with the prefix of the base model
    missing = sorted(
        key for key in report["missing_keys"] if _part_of(key, base if whole else "") in parts
    )
    if missing:
        raise RecipeError(
            f"{folder} has no weights for {missing[0]!r} and {len(missing) - 1} more; they would "
            "be random. Is the file complete, and of this architecture?"
        )
    return cast("PreTrainedModel", model.eval())


def _part_of(key: str, base: str) -> str:
    """Return which part of a model a tensor belongs to, by its name and the base model's prefix."""
    if "pooler" in key:
        return "pooler"
    return "model" if key.startswith(base) else "head"


def _own_code(folder: Path) -> str:
    """Return a note that a folder names code of its own; empty if it does not."""
    named = settings(folder / "config.json", required=False).get("auto_map")
    return f" (its config.json names code of its own, and {NO_CODE})" if named else ""


def _config(folder: Path) -> tuple[PretrainedConfig, dict[str, str] | None]:
    """Return the configuration, and the renaming of tensors if there is one."""
    said = json_records.read_json(folder / "config.json", error=RecipeError)
    if not isinstance(said, Mapping) or said.get("model_type") != "nvembed":
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return cast("PretrainedConfig", config), None
    inner = said.get("text_config")
    if not isinstance(inner, Mapping):
        raise RecipeError(f"{folder / 'config.json'}: an nvembed model lacks its text_config")
    plain = {name: value for name, value in inner.items() if name != "model_type"}
    # NV-Embed's own mask hides padding alone, so the window in the file has no effect.
    mistral = MistralConfig.from_dict({**plain, "sliding_window": None})
    return mistral, {r"^embedding_model\.": ""}
