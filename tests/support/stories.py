"""Convert the real tiny Llama of ``models/stories260k`` (llama2.c's format) to Transformers.

The format is described in the data folder's README: seven int32, then float32 tensors in order.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import LlamaConfig, LlamaForCausalLM

_SPECIAL = ["<unk>", "<s>", "</s>"]


def convert_stories(source: Path, folder: Path) -> Path:
    """Write ``source`` (the folder with both files) as a Transformers folder; return it."""
    model = _model(source / "stories260K.bin")
    model.save_pretrained(folder)
    _tokenizer(source / "tok512.bin").save(str(folder / "tokenizer.json"))
    return folder


def _model(path: Path) -> LlamaForCausalLM:
    raw = path.read_bytes()
    dim, hidden, layers, heads, kv_heads, words, context = struct.unpack("<7i", raw[:28])
    rest = np.frombuffer(raw, np.float32, offset=28)
    kv = dim // heads * kv_heads
    shapes: list[tuple[str, tuple[int, ...]]] = [
        ("embed_tokens", (words, dim)),
        ("input_layernorm", (layers, dim)),
        ("self_attn.q_proj", (layers, dim, dim)),
        ("self_attn.k_proj", (layers, kv, dim)),
        ("self_attn.v_proj", (layers, kv, dim)),
        ("self_attn.o_proj", (layers, dim, dim)),
        ("post_attention_layernorm", (layers, dim)),
        ("mlp.gate_proj", (layers, hidden, dim)),
        ("mlp.down_proj", (layers, dim, hidden)),
        ("mlp.up_proj", (layers, hidden, dim)),
        ("norm", (dim,)),
    ]
    weights: dict[str, torch.Tensor] = {}
    start = 0
    for name, shape in shapes:
        count = int(np.prod(shape))
        block = rest[start : start + count].reshape(shape)
        start += count
        if name in ("embed_tokens", "norm"):
            weights[f"model.{name}.weight"] = torch.from_numpy(block.copy())
            continue
        for layer in range(layers):
            matrix = block[layer]
            if name in ("self_attn.q_proj", "self_attn.k_proj"):
                matrix = _split_halves(matrix, heads if name.endswith("q_proj") else kv_heads)
            weights[f"model.layers.{layer}.{name}.weight"] = torch.from_numpy(matrix.copy())
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    config = LlamaConfig(
        vocab_size=words,
        hidden_size=dim,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=context,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    model.load_state_dict(weights, strict=True)
    model.eval()
    return model


def _split_halves(matrix: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """From rotary pairs side by side (llama2.c) to pairs half a head apart (Transformers)."""
    rows, columns = matrix.shape
    paired = matrix.reshape(heads, rows // heads // 2, 2, columns)
    return paired.transpose(0, 2, 1, 3).reshape(rows, columns)


def read_vocabulary(path: Path) -> list[tuple[str, float]]:
    """Return every token of ``tok512.bin`` with its score, in the order of ids."""
    raw = path.read_bytes()
    start, found = 4, []
    while start < len(raw):
        score, length = struct.unpack_from("<fi", raw, start)
        start += 8
        found.append((raw[start : start + length].decode("utf-8"), score))
        start += length
    return found


def _tokenizer(path: Path) -> Tokenizer:
    entries = read_vocabulary(path)
    words = [word.replace(" ", "▁") for word, _ in entries]
    words[:3] = _SPECIAL
    ids = {word: number for number, word in enumerate(words)}
    ranked: list[tuple[float, int, str, str]] = []
    for number in range(259, len(words)):  # 0 to 2 are special, 3 to 258 single bytes
        word = words[number]
        ranked += [
            (-entries[number][1], number, word[:cut], word[cut:])
            for cut in range(1, len(word))
            if word[:cut] in ids and word[cut:] in ids
        ]
    merges = [(left, right) for _, _, left, right in sorted(ranked)]
    made = Tokenizer(
        models.BPE(vocab=ids, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.add_special_tokens(_SPECIAL)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return made
