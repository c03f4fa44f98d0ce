"""ONNX graphs as other tools make them: traced backbones, and toys written out by hand."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModel

from models import LONGEST, WIDTH, tokenizer

IDS = "int64[batch, tokens] input_ids"
MASK = "int64[batch, tokens] attention_mask"
HIDDEN = f"float[batch, tokens, {WIDTH}] last_hidden_state"

TOKENS_SEE_ALL = """
    words = Gather (table, input_ids)
    last = Constant <value = int64[1] {2}> ()
    middle = Constant <value = int64[1] {1}> ()
    counts = Cast <to = 1> (attention_mask)
    real = Unsqueeze (counts, last)
    kept = Mul (words, real)
    total = ReduceSum (kept, middle)
    number = ReduceSum (real, middle)
    mean = Div (total, number)
    mixed = Add (words, mean)
    last_hidden_state = Tanh (mixed)
"""
"""A bidirectional model in one line: each token's vector, and the mean of the real ones."""


def toy(
    path: Path,
    body: str = TOKENS_SEE_ALL,
    *,
    inputs: Sequence[str] = (IDS, MASK),
    outputs: Sequence[str] = (HIDDEN,),
    opset: int = 17,
    weights: Mapping[str, NDArray[np.generic]] | None = None,
) -> Path:
    """Write a graph in ONNX's own notation; ``table`` holds a vector for every token."""
    text = (
        f'<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n'
        f"toy ({', '.join(inputs)}) => ({', '.join(outputs)}) {{{body}}}"
    )
    model = onnx.parser.parse_model(text)
    for name, values in {"table": table(), **(weights or {})}.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, path)
    return path


def table() -> NDArray[np.float32]:
    """Return a seeded vector for every token."""
    words = tokenizer().get_vocab_size()
    return np.random.default_rng(0).normal(size=(words, WIDTH)).astype(np.float32)


class _Backbone(nn.Module):
    """The bare model, its inputs by position."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        super().__init__()
        self.backbone = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
        self.backbone.config.use_cache = False
        self.names = names

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the last hidden state."""
        fed = dict(zip(self.names, tensors, strict=True))
        hidden: Tensor = self.backbone(**fed).last_hidden_state
        return hidden


def traced(folder: Path, path: Path, names: Sequence[str]) -> Path:
    """Write the backbone of a model folder as others do: ``names`` in, token states out."""
    examples = tuple(torch.ones((2, 7), dtype=torch.int64) for _ in names)
    rows = torch.export.Dim("batch", min=1, max=1024)
    columns = torch.export.Dim("tokens", min=1, max=LONGEST)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Backbone(folder, names),
            examples,
            dynamo=True,
            input_names=list(names),
            output_names=["last_hidden_state"],
            dynamic_shapes=(tuple({0: rows, 1: columns} for _ in names),),
            opset_version=18,
            verbose=False,
        )
    assert program is not None
    program.save(path)
    return path


def scripted(folder: Path, path: Path, names: Sequence[str]) -> Path:
    """Write the same by PyTorch's older exporter, as most graphs of the hub are made."""
    examples = tuple(torch.ones((2, 7), dtype=torch.int64) for _ in names)
    free = {0: "batch_size", 1: "sequence_length"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Backbone(folder, names),
            examples,
            path,
            dynamo=False,
            input_names=list(names),
            output_names=["last_hidden_state"],
            dynamic_axes=dict.fromkeys((*names, "last_hidden_state"), free),
            opset_version=14,
        )
    return path
