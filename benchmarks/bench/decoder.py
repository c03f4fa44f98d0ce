"""A seeded decoder of a real shape: its speed is that of a trained one."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a Qwen3 model; the vocabulary is that of the borrowed tokenizer."""

    width: int = 512
    layers: int = 8
    heads: int = 8
    key_heads: int = 4
    longest: int = 1024


def read_shape(text: str) -> Shape:
    """Read ``512x8`` as a width and a number of layers, for argparse."""
    width, _, layers = text.partition("x")
    if not (width.isdecimal() and layers.isdecimal() and int(layers)) or int(width) % 64:
        raise argparse.ArgumentTypeError(
            f"expected WIDTHxLAYERS with a width that 64 divides, got {text!r}"
        )
    return Shape(width=int(width), layers=int(layers))


def save_decoder(folder: Path, tokenizer: Path, shape: Shape, *, seed: int) -> Path:
    """Write a sentence-transformers folder with last-token pooling; return the folder.

    Args:
        folder: Is made.
        tokenizer: A folder whose tokenizer files are borrowed.
        shape: The sizes.
        seed: Draws the weights.
    """
    folder.mkdir(parents=True)
    borrow_tokenizer(tokenizer, folder)
    vocabulary = json.loads((tokenizer / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        "qwen3",
        vocab_size=vocabulary,
        hidden_size=shape.width,
        intermediate_size=3 * shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=shape.width // shape.heads,
        max_position_embeddings=shape.longest,
    )
    model = AutoModel.from_config(config)
    with torch.no_grad():  # residuals add little, as in trained models: so that w4 passes, too
        for name, weights in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weights.div_(8 * shape.layers)
    model.save_pretrained(folder)
    save_modules(folder, width=shape.width, pooling="lasttoken", longest=shape.longest)
    return folder


def borrow_tokenizer(tokenizer: Path, folder: Path) -> None:
    """Copy a model folder's tokenizer files, as far as they are there."""
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        if (tokenizer / file).exists():
            shutil.copy(tokenizer / file, folder)


def save_modules(
    folder: Path, *, width: int, pooling: str, longest: int, normalize: bool = False
) -> None:
    """Write what makes a Transformers folder one of sentence-transformers.

    Args:
        folder: Holds the model.
        width: Of its token states.
        pooling: sentence-transformers' name of it, for example ``lasttoken``.
        longest: Most tokens of a text.
        normalize: Whether vectors have unit length.
    """
    modules = {
        "": "base.modules.transformer.Transformer",
        "1_Pooling": "sentence_transformer.modules.pooling.Pooling",
    }
    if normalize:
        modules["2_Normalize"] = "sentence_transformer.modules.normalize.Normalize"
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.{kind}"}
        for number, (path, kind) in enumerate(modules.items())
    ]
    _write(folder / "modules.json", listed)
    _write(
        folder / "1_Pooling" / "config.json",
        {"embedding_dimension": width, "pooling_mode": pooling},
    )
    _write(folder / "sentence_bert_config.json", {"max_seq_length": longest})


def _write(path: Path, data: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
