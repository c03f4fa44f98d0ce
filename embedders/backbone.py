"""Load the Transformers model of a folder, in float32 and without remote code.

NV-Embed's folders name their own classes; what these hold is a plain Mistral beside a latent
attention, and it is loaded as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModel, MistralConfig, PretrainedConfig, PreTrainedModel

from . import jsonio
from .attention import apply_attention
from .errors import RecipeError
from .recipe import Attention


def load_backbone(folder: Path, attention: Attention) -> PreTrainedModel:
    """Load a folder's base model, in evaluation mode.

    Args:
        folder: A Transformers or sentence-transformers folder.
        attention: What the recipe says; the model's masks are set to it.

    Raises:
        RecipeError: The folder does not load, or lacks weights.
    """
    try:
        config, renamed = _config(folder)
        apply_attention(config, attention)
        backbone, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            key_mapping=renamed,
        )
    except (OSError, ValueError, KeyError, StrictDataclassError) as error:
        raise RecipeError(f"{folder} does not load as a Transformers model: {error}") from error
    if missing := sorted(key for key in report["missing_keys"] if "pooler" not in key):
        raise RecipeError(
            f"{folder} has no weights for {missing[0]!r} and {len(missing) - 1} more; they would "
            "be random. Is the file complete, and of this architecture?"
        )
    return cast("PreTrainedModel", backbone.eval())


def _config(folder: Path) -> tuple[PretrainedConfig, dict[str, str] | None]:
    """Return the configuration, and how tensors are renamed if they are."""
    settings = jsonio.read_json(folder / "config.json", error=RecipeError)
    if not isinstance(settings, Mapping) or settings.get("model_type") != "nvembed":
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        return cast("PretrainedConfig", config), None
    inner = settings.get("text_config")
    if not isinstance(inner, Mapping):
        raise RecipeError(f"{folder / 'config.json'}: an nvembed model lacks its text_config")
    plain = {name: value for name, value in inner.items() if name != "model_type"}
    # NV-Embed's own mask hides padding and nothing else, whatever window the file names.
    mistral = MistralConfig.from_dict({**plain, "sliding_window": None})
    return mistral, {r"^embedding_model\.": ""}
