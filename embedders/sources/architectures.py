"""What a model's ``config.json`` says about which tokens a token sees.

A model's own switches come first, then its family's way. Code of its own (``auto_map``), which
decant does not run, may turn a causal family's mask off without a word in ``config.json`` (GTE's
and Stella's Qwen2): then nothing is said. Families of encoders attend both ways there, too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from ..recipe.enums import Attention
from .config_files import Object, part, settings

_BIDIRECTIONAL_TYPES = {
    "albert", "bert", "bidir_mistral", "camembert", "data2vec-text", "deberta", "deberta-v2",
    "distilbert", "electra", "ernie", "eurobert", "jina_embeddings_v3", "modernbert", "mpnet",
    "mt5", "nomic_bert", "roberta", "roberta-prelayernorm", "roformer", "t5", "t5gemma",
    "umt5", "xlm-roberta", "xlm-roberta-xl",
}  # fmt: skip
_CAUSAL_TYPES = {
    "arcee", "bloom", "cohere", "cohere2", "ernie4_5", "exaone4", "falcon", "gemma", "gemma2",
    "gemma3_text", "glm", "glm4", "gpt2", "gpt_neo", "gpt_neox", "gptj", "granite",
    "hunyuan_v1_dense", "llama", "mistral", "modernbert-decoder", "nemotron", "olmo", "olmo2",
    "olmo3", "opt", "phi", "phi3", "qwen2", "qwen3", "seed_oss", "smollm3", "stablelm",
    "starcoder2",
}  # fmt: skip


# LLM2Vec's classes, of this year and of its first checkpoints: causal families without their mask.
_LLM2VEC_CLASS = re.compile(r"(Llama|Mistral|Gemma|Qwen2)(BiModel|BiForMNTP|EncoderModel)")


def said_attention(config: Object) -> Attention | None:
    """Return how a configuration's model attends; None where it does not say."""
    kind = config.get("model_type")
    if config.get("is_causal") is False or config.get("use_bidirectional_attention") is True:
        return Attention.BIDIRECTIONAL
    classes = config.get("architectures")
    if isinstance(classes, list) and any(map(llm2vec_class, cast("list[object]", classes))):
        return Attention.BIDIRECTIONAL
    if kind in _BIDIRECTIONAL_TYPES and config.get("is_decoder") is not True:
        return Attention.BIDIRECTIONAL
    if kind not in _CAUSAL_TYPES or (own_code(config) is not None and not _switched(config)):
        return None
    return Attention.CAUSAL


def llm2vec_class(name: object) -> bool:
    """Tell whether a class is one of LLM2Vec's, whose models attend both ways."""
    return isinstance(name, str) and _LLM2VEC_CLASS.fullmatch(name) is not None


def own_code(config: Object) -> str | None:
    """Return the class of the folder's own that is its base model, if Transformers' is not."""
    name = part(config, "auto_map").get("AutoModel")
    if not isinstance(name, str) or name.startswith("transformers."):
        return None
    return name


def unsaid_attention(folder: Path, base: str) -> str:
    """Return the words for a model of which nothing says how it attends."""
    own = own_code(settings(folder / "config.json", required=False))
    reason, switch = "", ""
    if own is not None:
        reason = (
            f": its config.json names code of its own ({own}), which decant does not run and "
            "which may attend otherwise than the architecture"
        )
        switch = ", or set is_causal in its config.json"
    return (
        f"nothing says whether {base} attends causally{reason}; pass attention='causal' or "
        f"'bidirectional' (--attention){switch}, as its model card says"
    )


def _switched(config: Object) -> bool:
    """Whether the configuration says itself that it is causal."""
    return config.get("is_causal") is True or config.get("use_bidirectional_attention") is False
