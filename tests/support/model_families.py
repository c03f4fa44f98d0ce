"""The families of models in tests: which there are, and their two-layer configurations."""

from __future__ import annotations

from decant.embedders.sources import Operator
from decant.embedders.sources.architectures import ARCHITECTURES

LONGEST = 64
WIDTH = 32
DECODERS = (
    "llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text", "phi3", "gpt_neox", "gpt2",
    "opt", "bloom", "falcon",
)  # fmt: skip
ENCODERS = (
    "bert", "roberta", "xlm-roberta", "mpnet", "modernbert", "nomic_bert", "deberta", "deberta-v2",
    "t5", "umt5", "t5gemma",
)  # fmt: skip
WINDOW = 6

_SIZES: dict[str, object] = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 0,
}
_DECODER: dict[str, object] = {
    **_SIZES,
    "num_key_value_heads": 2,
    "max_position_embeddings": LONGEST,
}
_ENDS: dict[str, object] = {"bos_token_id": 1, "eos_token_id": 2}
_ENCODER: dict[str, object] = {**_SIZES, "max_position_embeddings": LONGEST}
_OFFSET: dict[str, object] = {
    **_SIZES,
    "pad_token_id": 1,
    "max_position_embeddings": LONGEST + 2,
}
_LAYERS = ["sliding_attention", "full_attention"]
_AS_LLAMA = (
    "arcee", "cohere", "ernie4_5", "granite", "nemotron", "olmo", "olmo2", "phi", "smollm3",
    "stablelm", "starcoder2",
)  # fmt: skip
_EIGHT_WIDE: dict[str, object] = {**_DECODER, "head_dim": 8}
_SLIDING: dict[str, object] = {**_DECODER, "sliding_window": WINDOW, "layer_types": _LAYERS}
_GEMMA: dict[str, object] = {**_SLIDING, "head_dim": 8}
_NARROW_TABLE: dict[str, object] = {**_ENCODER, "embedding_size": 16}
_ENCODER_DECODER: dict[str, object] = {
    "d_model": WIDTH,
    "d_ff": 48,
    "d_kv": 8,
    "num_layers": 2,
    "num_heads": 4,
    "n_positions": LONGEST,
    "pad_token_id": 0,
}
_DISENTANGLED: dict[str, object] = {
    **_ENCODER,
    "relative_attention": True,
    "position_biased_input": False,
    "type_vocab_size": 0,
}
# Low caps, so that they bend the scores of weights this small.
_CAPPED: dict[str, object] = {**_GEMMA, "attn_logit_softcapping": 2.0}
_HALF: dict[str, object] = {**_CAPPED, "vocab_size": 300}  # more than the tokenizer has
FAMILIES: dict[str, dict[str, object]] = {
    "bert": _ENCODER,
    **dict.fromkeys(("roberta", "xlm-roberta", "mpnet", "xlm-roberta-xl", "ibert"), _OFFSET),
    **dict.fromkeys(("data2vec-text", "markuplm"), _OFFSET),
    "xmod": {**_OFFSET, "languages": ["en_XX"], "default_language": "en_XX"},
    "luke": {**_OFFSET, "entity_vocab_size": 8, "entity_emb_size": 8},
    "esm": {**_OFFSET, "position_embedding_type": "absolute", "mask_token_id": 4},
    "longformer": {**_OFFSET, "attention_window": 8},
    "nystromformer": {**_OFFSET, "num_landmarks": LONGEST, "segment_means_seq_len": LONGEST},
    "layoutlmv3": {**_OFFSET, "visual_embed": False, "coordinate_size": 4, "shape_size": 8},
    "lilt": _ENCODER,  # its boxes take a sixth of the width, which is none: it loads and fails
    "modernbert": {
        **_ENCODER,
        **_ENDS,
        "cls_token_id": 1,
        "sep_token_id": 2,
        "local_attention": 2 * WINDOW,
        "layer_types": _LAYERS,
    },
    "modernbert-decoder": {
        **_ENCODER,
        **_ENDS,
        "cls_token_id": 1,
        "sep_token_id": 2,
        "local_attention": 2 * WINDOW,
        "layer_types": _LAYERS,
    },
    "nomic_bert": _ENCODER,
    "deberta": {**_DISENTANGLED, "pos_att_type": ["c2p", "p2c"]},
    "deberta-v2": {
        **_DISENTANGLED,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
    },
    **dict.fromkeys(("t5", "umt5"), _ENCODER_DECODER),
    "t5gemma": {"encoder": _HALF, "decoder": _HALF, "pad_token_id": 0},
    "bart": {
        "d_model": WIDTH,
        **dict.fromkeys(("encoder_layers", "decoder_layers"), 1),
        **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 48),
        **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
        "max_position_embeddings": LONGEST,
    },
    **dict.fromkeys(_AS_LLAMA, _DECODER),
    **dict.fromkeys(("gemma", "glm", "glm4", "hunyuan_v1_dense", "seed_oss"), _EIGHT_WIDE),
    **dict.fromkeys(("cohere2", "exaone4", "olmo3"), _SLIDING),
    **dict.fromkeys(("ernie", "bert-generation", "jina_embeddings_v3"), _ENCODER),
    **dict.fromkeys(("camembert", "roberta-prelayernorm"), _OFFSET),
    **dict.fromkeys(("albert", "electra"), _NARROW_TABLE),
    "distilbert": {
        "dim": WIDTH,
        "hidden_dim": 48,
        "n_layers": 2,
        "n_heads": 4,
        "max_position_embeddings": LONGEST,
        "pad_token_id": 0,
    },
    "eurobert": {**_DECODER, **_ENDS},
    "llama": _DECODER,
    "qwen2": _DECODER,
    "qwen3": {**_DECODER, "head_dim": 8},
    "mistral": {**_DECODER, "sliding_window": WINDOW},
    "gemma2": _CAPPED,
    "gemma3_text": _GEMMA,
    "embeddinggemma": {**_GEMMA, "use_bidirectional_attention": True},
    "phi3": {**_DECODER, **_ENDS},
    "gpt_neox": _ENCODER,
    "gpt2": {**_ENCODER, **_ENDS},
    "opt": {**_ENCODER, "ffn_dim": 48},
    "opt_projected": {**_ENCODER, "ffn_dim": 48, "word_embed_proj_dim": WIDTH // 2},
    "falcon": {**_SIZES, **_ENDS, "alibi": True},
    "bloom": {name: value for name, value in _SIZES.items() if name != "intermediate_size"},
}
# Names here that are a setting of another architecture.
TYPES = {"embeddinggemma": "gemma3_text", "opt_projected": "opt"}


def traced_as(operator: Operator) -> list[str]:
    """Return the architectures whose attention is traced as an operator, all in ``FAMILIES``."""
    return sorted(kind for kind, row in ARCHITECTURES.items() if operator in row.operators)
