"""Bundles for the tests of WebGPU: made once, and certified on few texts.

A Vulkan device in software compiles a program anew for nearly every shape, so a whole certificate
takes minutes. These bundles hold a quarter of the short probes, and the longest two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModel

from decant.embedders import Bundle, CertificateEntry, Precision
from decant.embedders.onnx import CPU, find_provider
from decant.embedders.tokens import TextTokenizer
from decant.embedders.tokens.rows import Tokens
from decant.export import export, verify
from decant.export.certify.probes import probe_texts
from model_families import DECODERS, FAMILIES, LONGEST
from models import save_embedding_gemma, save_sentence_transformer, tokenizer, write_json

__all__ = [
    "CPU", "INTEGERS", "WEBGPU", "Bundles", "cosines", "entry", "few_texts", "rows",
    "save_on_a_grid",
]  # fmt: skip

WEBGPU = find_provider("webgpu")

# ONNX Runtime keeps shapes, masks and positions, which are int64, on the CPU.
INTEGERS = {
    "Abs", "Add", "And", "Cast", "Clip", "Concat", "ConstantOfShape", "CumSum", "Div", "Equal",
    "Expand", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual", "Less",
    "LessOrEqual", "Max", "Min", "Mul", "Neg", "Not", "Or", "Range", "ReduceMin", "ReduceProd",
    "ReduceSum", "Reshape", "Shape", "Sign", "Slice", "Squeeze", "Sub", "Tile", "Unsqueeze",
    "Where",
}  # fmt: skip

_EVERY = 4
_LONG = 2
_WIDE = 256
_BLOCK = 256  # of w4 in layers this narrow (decant.export.quantize.weight_only)
_PROMPTED = ("bert", "qwen3")
_PROMPTS = {"query": "query: ", "document": "passage: "}


def few_texts(
    tokenizer: TextTokenizer, *, longest: int, uncounted_id: int | None = None
) -> list[str]:
    """Return every fourth of a certificate's texts, and its last two, which are the longest."""
    texts = probe_texts(tokenizer, longest=longest, uncounted_id=uncounted_id)
    return [*texts[:-_LONG:_EVERY], *texts[-_LONG:]]


def rows(*lengths: int) -> list[Tokens]:
    """Return seeded rows of these lengths, each of two tokens or more."""
    drawn = np.random.default_rng(len(lengths))
    return [
        Tokens(ids=(1, *drawn.integers(20, 200, length - 2).tolist(), 2), counted=0)
        for length in lengths
    ]


def cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each row in float64."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    found: NDArray[np.float64] = (a * b).sum(axis=1) / (
        np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    )
    return found


def entry(bundle: Path, precision: Precision = Precision.FP32) -> CertificateEntry:
    """Return what WebGPU's certificate says of a graph; there must be one."""
    found = Bundle.open(bundle).entry(precision, WEBGPU.full_name)
    assert isinstance(found, CertificateEntry)
    return found


@dataclass(frozen=True, slots=True)
class Bundles:
    """Makes bundles of seeded families, each once.

    Args:
        folder: Where they lie.
        made: The float32 bundles that have an entry of WebGPU, by family.
    """

    folder: Path
    made: dict[str, Path] = field(default_factory=dict)

    def model(self, family: str) -> Path:
        """Return a seeded model of a family, as a sentence-transformers folder."""
        target = self.folder / family / "model"
        if target.exists():
            return target
        if family == "embeddinggemma":
            return save_embedding_gemma(target)
        pooling = "lasttoken" if family in DECODERS else "mean"
        prompts = _PROMPTS if family in _PROMPTED else None
        return save_sentence_transformer(target, family, pooling=pooling, prompts=prompts)

    def certified(self, family: str) -> Path:
        """Return a float32 bundle of which WebGPU's certificate says whether it passed."""
        if family not in self.made:
            target = self.folder / family / "bundle"
            export(self.model(family), target)
            verify(target, provider="webgpu", precision="fp32")
            self.made[family] = target
        return self.made[family]


def save_on_a_grid(folder: Path) -> Path:
    """Write a seeded BERT of width 256 whose weights w4 loses nothing of; return the folder.

    Each block of a linear layer's inputs is a scale times integers of four bits: what is compared
    then is how a provider multiplies, not what rounding loses.
    """
    torch.manual_seed(0)
    settings = {**FAMILIES["bert"], "hidden_size": _WIDE, "intermediate_size": 2 * _WIDE}
    words = tokenizer().get_vocab_size()
    model = AutoModel.from_config(AutoConfig.for_model("bert", vocab_size=words, **settings)).eval()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, torch.nn.Linear):
                blocks = part.weight.view(-1, _BLOCK)
                integers = torch.randint(-7, 8, blocks.shape)
                integers[:, 0] = -8  # the largest magnitude of a block takes the lowest integer
                blocks.copy_(integers * (0.02 + 0.01 * torch.rand(len(blocks), 1)))
    model.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"model_max_length": LONGEST})
    return folder
