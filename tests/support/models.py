"""Tiny seeded models of real architectures, saved as folders as the hub would hold them.

Two layers, width 32, a byte-level tokenizer with a few merges: everything real but the size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PretrainedConfig

MERGES = [
    ("Ġ", "t"),
    ("h", "e"),
    ("Ġt", "he"),
    ("i", "n"),
    ("Ġ", "w"),
    ("Ġw", "h"),
    ("a", "t"),
    ("Ġ", "a"),
]
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "<|endoftext|>", "<instruct>", "<query>")
LONGEST = 64
WIDTH = 32
DECODERS = ("llama", "qwen2", "qwen3", "mistral", "gemma3_text")
ENCODERS = ("bert", "roberta", "mpnet")

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


def tokenizer(ending: str = "<s> $A </s>") -> Tokenizer:
    """Return a byte-level BPE tokenizer whose post-processor adds what ``ending`` shows."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*SPECIALS, *letters, *("".join(pair) for pair in MERGES)]
    vocabulary = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(SPECIALS))
    made.post_processor = processors.TemplateProcessing(
        single=ending, special_tokens=[(word, vocabulary[word]) for word in SPECIALS]
    )
    return made


_FAMILIES: dict[str, dict[str, object]] = {
    "bert": {**_SIZES, "max_position_embeddings": LONGEST},
    "roberta": {**_SIZES, "pad_token_id": 1, "max_position_embeddings": LONGEST + 2},
    "mpnet": {**_SIZES, "pad_token_id": 1, "max_position_embeddings": LONGEST + 2},
    "llama": _DECODER,
    "qwen2": _DECODER,
    "qwen3": {**_DECODER, "head_dim": 8},
    "mistral": {**_DECODER, "sliding_window": 6},
    "gemma3_text": {
        **_DECODER,
        "head_dim": 8,
        "sliding_window": 6,
        "layer_types": ["sliding_attention", "full_attention"],
    },
}


def config(family: str) -> PretrainedConfig:
    """Return the two-layer configuration of one family."""
    words = tokenizer().get_vocab_size()
    made = AutoConfig.for_model(family, vocab_size=words, **_FAMILIES[family])
    assert isinstance(made, PretrainedConfig)
    return made


def save_model(folder: Path, family: str, *, ending: str = "<s> $A </s>", seed: int = 0) -> Path:
    """Write a seeded model and its tokenizer as a Transformers folder; return the folder."""
    torch.manual_seed(seed)
    model = AutoModel.from_config(config(family)).eval()
    # Freshly drawn weights (0.02) give nearly equal vectors; trained ones do not.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    model.save_pretrained(folder)
    tokenizer(ending).save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"model_max_length": LONGEST})
    return folder


def save_sentence_transformer(
    folder: Path,
    family: str,
    *,
    pooling: str = "mean",
    prompts: Mapping[str, str] | None = None,
    include_prompt: bool = True,
) -> Path:
    """Write a seeded model as a sentence-transformers folder (schema of version 6)."""
    save_model(folder, family)
    modules = [
        ("", "base.modules.transformer.Transformer"),
        ("1_Pooling", "sentence_transformer.modules.pooling.Pooling"),
        ("2_Normalize", "base.modules.normalize.Normalize"),
    ]
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"}
        for number, (path, kind) in enumerate(modules)
    ]
    write_json(folder / "modules.json", listed)
    write_json(
        folder / "1_Pooling" / "config.json",
        {"embedding_dimension": WIDTH, "pooling_mode": pooling, "include_prompt": include_prompt},
    )
    write_json(folder / "config_sentence_transformers.json", {"prompts": dict(prompts or {})})
    return folder


def write_json(path: Path, data: object) -> None:
    """Write ``data`` as JSON, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
