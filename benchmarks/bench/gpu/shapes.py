"""Models of real shapes with drawn weights, written shard by shard.

Speed does not depend on the values of weights, so no download is needed. Never more than a shard
(about 1 GiB) and one tensor are in memory. Weights are bfloat16, as those of the real models are:
a bf16 graph of them holds them exactly. The vocabulary is the real one; the tokenizer is borrowed.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import assert_never

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel, PretrainedConfig

from decant.embedders.onnx import available_cores

from ..decoder import borrow_tokenizer, save_modules

LONGEST = 512
_SHARD = 1 << 29  # weights; 1 GiB
_STD = 0.02  # what the families' configurations call initializer_range


class Family(StrEnum):
    """An architecture of Transformers."""

    BERT = "bert"
    QWEN3 = "qwen3"
    LLAMA = "llama"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a model.

    Args:
        title: The model whose sizes these are.
        family: Its architecture.
        width: Of the token states.
        depth: How many layers the real one has.
        layers: How many are made.
        heads: Of queries.
        key_heads: Of keys and values.
        head: The width of one.
        inner: The width within the feed-forward part.
        vocabulary: Rows of the embedding.
    """

    title: str
    family: Family
    width: int
    depth: int
    layers: int
    heads: int
    key_heads: int
    head: int
    inner: int
    vocabulary: int

    @property
    def name(self) -> str:
        """How results call it; a cut in depth is said."""
        cut = "" if self.layers == self.depth else f", {self.layers} of {self.depth} layers"
        return f"{self.title} shape{cut}"

    def cut(self, layers: int | None) -> Shape:
        """Return the same with at most so many layers; None cuts nothing."""
        return self if layers is None else replace(self, layers=min(layers, self.depth))


def _qwen3(title: str, width: int, depth: int, heads: int, inner: int) -> Shape:
    return Shape(
        title=title, family=Family.QWEN3, width=width, depth=depth, layers=depth, heads=heads,
        key_heads=8, head=128, inner=inner, vocabulary=151_669,
    )  # fmt: skip


# Sizes: config.json of google-bert/bert-base-uncased (microsoft/mpnet-base has the same), of
# sentence-transformers/all-MiniLM-L6-v2, meta-llama/Llama-3.2-1B, and
# Qwen/Qwen3-Embedding-0.6B, -4B and -8B.
SHAPES = {
    "bert-base": Shape(
        title="BERT-base", family=Family.BERT, width=768, depth=12, layers=12, heads=12,
        key_heads=12, head=64, inner=3072, vocabulary=30_522,
    ),
    "minilm-shape": Shape(
        title="MiniLM", family=Family.BERT, width=384, depth=6, layers=6, heads=12, key_heads=12,
        head=32, inner=1536, vocabulary=30_522,
    ),
    "llama-1b": Shape(
        title="Llama-3.2-1B", family=Family.LLAMA, width=2048, depth=16, layers=16, heads=32,
        key_heads=8, head=64, inner=8192, vocabulary=128_256,
    ),
    "qwen3-tiny": Shape(
        title="tiny Qwen3", family=Family.QWEN3, width=512, depth=4, layers=4, heads=8,
        key_heads=4, head=64, inner=1536, vocabulary=30_522,
    ),
    "qwen3-0.6b": _qwen3("Qwen3-Embedding-0.6B", 1024, 28, 16, 3072),
    "qwen3-4b": _qwen3("Qwen3-Embedding-4B", 2560, 36, 32, 9728),
    "qwen3-8b": _qwen3("Qwen3-Embedding-8B", 4096, 36, 32, 12_288),
}  # fmt: skip


def save_seeded(folder: Path, tokenizer: Path, shape: Shape, *, seed: int) -> Path:
    """Write a sentence-transformers folder with drawn weights; return the folder.

    Decoders pool the last token, encoders the mean; both normalise.

    Args:
        folder: Is made.
        tokenizer: A folder whose tokenizer files are borrowed; its ids fit the vocabulary.
        shape: The sizes.
        seed: Draws the weights, each tensor from a stream of its own.
    """
    folder.mkdir(parents=True)
    borrow_tokenizer(tokenizer, folder)
    config = _config(shape)
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=torch.bfloat16)
    sizes = {name: weight.shape for name, weight in model.named_parameters()}
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    _save_weights(folder, sizes, shape, seed)
    pooling = "mean" if shape.family is Family.BERT else "lasttoken"
    save_modules(folder, width=shape.width, pooling=pooling, longest=LONGEST, normalize=True)
    return folder


def _config(shape: Shape) -> PretrainedConfig:
    sizes = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "max_position_embeddings": LONGEST,
        "dtype": torch.bfloat16,
    }
    match shape.family:
        case Family.BERT:
            pass
        case Family.QWEN3:
            sizes |= {
                "num_key_value_heads": shape.key_heads,
                "head_dim": shape.head,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000},
                "rms_norm_eps": 1e-6,
            }
        case Family.LLAMA:
            sizes |= {
                "num_key_value_heads": shape.key_heads,
                "head_dim": shape.head,
                "rope_parameters": {"rope_type": "default", "rope_theta": 500_000},
            }
        case _:
            assert_never(shape.family)
    config: PretrainedConfig = AutoConfig.for_model(shape.family, **sizes)
    return config


def _save_weights(folder: Path, sizes: dict[str, torch.Size], shape: Shape, seed: int) -> None:
    """Write the shards and their index, as Transformers reads them."""
    shards: list[list[str]] = [[]]
    for name in sizes:
        if sum(sizes[other].numel() for other in shards[-1]) >= _SHARD:
            shards.append([])
        shards[-1].append(name)
    numbers = {name: number for number, name in enumerate(sizes)}
    files = {}

    def drawn(name: str) -> torch.Tensor:
        return _draw(name, sizes[name], shape, seed=seed * 1_000_003 + numbers[name])

    with ThreadPoolExecutor(available_cores()) as pool:
        for number, shard in enumerate(shards, start=1):
            file = f"model-{number:05}-of-{len(shards):05}.safetensors"
            weights = dict(zip(shard, pool.map(drawn, shard), strict=True))
            save_file(weights, folder / file, metadata={"format": "pt"})
            files.update(dict.fromkeys(shard, file))
    total = 2 * sum(size.numel() for size in sizes.values())
    index = {"metadata": {"total_size": total}, "weight_map": files}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index), encoding="utf-8")


def _draw(name: str, size: torch.Size, shape: Shape, *, seed: int) -> torch.Tensor:
    weight = torch.empty(size, dtype=torch.bfloat16)
    if len(size) == 1:
        return weight.fill_(1.0 if name.endswith("weight") else 0.0)
    weight.normal_(std=_STD, generator=torch.Generator().manual_seed(seed))
    # Residuals add little, as in trained models.
    outputs = name.endswith(("o_proj.weight", "down_proj.weight"))
    return weight.div_(8 * shape.layers) if outputs else weight
