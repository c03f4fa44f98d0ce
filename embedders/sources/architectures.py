"""The table of architectures, and what a model's ``config.json`` says of how it attends.

A family is its ``model_type`` in the row of its like, and a tiny model in the tests; resolving,
``positions.py`` and ``decant.export``'s tracing read the table. Of attention, a model's own
switches come first, then its family's way. Code of its own (``auto_map``), which decant does not
run, may turn a causal family's mask off without a word in ``config.json`` (GTE's and Stella's
Qwen2): then nothing is said. Families of encoders attend both ways there, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import cast

from ..recipe.enums import Attention
from .config_files import Object, part, settings


class Operator(StrEnum):
    """ONNX Runtime's operators for attention: causal with windows; both ways without."""

    GROUP_QUERY = "GroupQueryAttention"
    MULTI_HEAD = "MultiHeadAttention"


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """What is known of a ``model_type``.

    Args:
        attention: Which way it attends if nothing else is said; None: that has to be said.
        first_position: Of a text's first token; None: ``padding_idx + 1``. Loading a model finds
            out some that are missing here, a finished graph cannot be tried so.
        counts_padding: Whether a padding token that stands in a text has a position. Without,
            ``max_position_embeddings`` counts the rows before the first position (transformers:
            create_position_ids_from_input_ids; with, the buffer position_ids).
        operators: What its attention can be traced as, certified in the tests; else plain ones.
    """

    attention: Attention | None = None
    first_position: int | None = 0
    counts_padding: bool = True
    operators: tuple[Operator, ...] = ()


_BOTH_WAYS = Architecture(attention=Attention.BIDIRECTIONAL)
_ENCODER = replace(_BOTH_WAYS, operators=(Operator.MULTI_HEAD,))
_CAUSAL = Architecture(attention=Attention.CAUSAL)
_DECODER = replace(_CAUSAL, operators=(Operator.GROUP_QUERY,))
_UNSAID = Architecture()
_ROWS: dict[Architecture, str] = {
    _ENCODER: "albert bert distilbert electra ernie eurobert jina_embeddings_v3 nomic_bert",
    replace(_ENCODER, first_position=None, counts_padding=False): "camembert data2vec-text roberta "
    "roberta-prelayernorm xlm-roberta xlm-roberta-xl",
    replace(_ENCODER, attention=None): "bert-generation",
    _BOTH_WAYS: "bidir_mistral deberta deberta-v2 modernbert mt5 roformer t5 t5gemma umt5",
    replace(_BOTH_WAYS, first_position=2, counts_padding=False): "mpnet",  # padding_idx is 1
    _DECODER: "arcee cohere cohere2 ernie4_5 exaone4 gemma gemma2 gemma3_text glm glm4 gpt2 "
    "gpt_neox granite hunyuan_v1_dense mistral modernbert-decoder nemotron olmo olmo2 olmo3 opt "
    "phi seed_oss smollm3 stablelm starcoder2",
    replace(_DECODER, operators=tuple(Operator)): "llama phi3 qwen2 qwen3",
    _CAUSAL: "bloom falcon gpt_neo gptj",
    replace(_UNSAID, first_position=None, counts_padding=False): "esm ibert longformer luke "
    "markuplm xmod",
    replace(_UNSAID, first_position=2): "mra nystromformer yoso",
}
ARCHITECTURES = {name: row for row, names in _ROWS.items() for name in names.split()}

# LLM2Vec's classes, of this year and of its first checkpoints: causal families without their mask.
_LLM2VEC_CLASS = re.compile(r"(Llama|Mistral|Gemma|Qwen2)(BiModel|BiForMNTP|EncoderModel)")


def architecture(kind: object) -> Architecture:
    """Return what is known of the ``model_type`` of a configuration."""
    return ARCHITECTURES.get(str(kind), _UNSAID)


def said_attention(config: Object) -> Attention | None:
    """Return how a configuration's model attends; None where it does not say."""
    usual = architecture(config.get("model_type")).attention
    if config.get("is_causal") is False or config.get("use_bidirectional_attention") is True:
        return Attention.BIDIRECTIONAL
    classes = config.get("architectures")
    if isinstance(classes, list) and any(map(llm2vec_class, cast("list[object]", classes))):
        return Attention.BIDIRECTIONAL
    if usual is Attention.BIDIRECTIONAL:
        return None if config.get("is_decoder") is True else usual
    return None if own_code(config) is not None and not _switched(config) else usual


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
