"""Seeded models of every architecture that decant exports, in one size."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel

from .decoder import borrow_tokenizer

ENCODERS = ("bert", "roberta", "mpnet", "modernbert", "nomic_bert", "embeddinggemma")
DECODERS = (
    "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "gpt_neox", "gpt2",
    "opt", "bloom",
)  # fmt: skip
LONGEST = 256
_HEADS, _KEY_HEADS = 6, 2
# Settings of another architecture that are a family of their own.
_KINDS = {"embeddinggemma": "gemma3_text"}
_GROUPED = {
    "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "embeddinggemma"
}  # fmt: skip
# Their position tables begin behind the padding's number.
_OFFSET = {"roberta", "mpnet"}


def save_family(
    folder: Path, tokenizer: Path, family: str, *, layers: int, width: int, seed: int
) -> Path:
    """Write a model folder with a borrowed tokenizer; return it.

    Args:
        folder: Is made.
        tokenizer: A folder whose tokenizer files are borrowed.
        family: One of the above.
        layers: How many.
        width: Of the states, a multiple of twelve; the MLP is three times as wide.
        seed: Draws the weights.
    """
    folder.mkdir(parents=True)
    borrow_tokenizer(tokenizer, folder)
    vocabulary = json.loads((tokenizer / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    sizes: dict[str, object] = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": _HEADS,
        "pad_token_id": 1 if family in _OFFSET else 0,
        **{f"{name}_token_id": number for number, name in enumerate(("bos", "eos"), start=1)},
        **{f"{name}_token_id": number for number, name in enumerate(("cls", "sep"), start=3)},
    }
    if family != "bloom":  # ALiBi has no table, and its MLP is four times as wide
        sizes |= {"intermediate_size": 3 * width, "ffn_dim": 3 * width}
        sizes["max_position_embeddings"] = LONGEST + (2 if family in _OFFSET else 0)
    if family in _GROUPED:
        sizes |= {"num_key_value_heads": _KEY_HEADS, "head_dim": width // _HEADS}
    if family == "embeddinggemma":
        sizes["use_bidirectional_attention"] = True
    torch.manual_seed(seed)
    config = AutoConfig.for_model(_KINDS.get(family, family), **sizes)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder
