"""Operations counted from a configuration: as modules and torch itself count them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel

from bench.gpu.flops import Arithmetic, arithmetic
from bench.gpu.shapes import SHAPES, Family, Shape
from decant.embedders import (
    RecipeError,
)
from tiny_shapes import TINY


def linear_operations(model: nn.Module, ids: torch.Tensor) -> int:
    """Count the naive way: 2 x inputs x outputs of every linear layer for every token it sees."""
    total = 0

    def add(layer: nn.Module, inputs: tuple[torch.Tensor, ...], _output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Linear)
        tokens = inputs[0].numel() // layer.in_features
        total += 2 * tokens * layer.in_features * layer.out_features

    hooks = [
        layer.register_forward_hook(add)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and "pooler" not in name
    ]
    model(ids)
    for hook in hooks:
        hook.remove()
    return total


def attention_operations(rows: int, length: int, shape: Shape) -> int:
    """Count token by token: a product with each key it sees, and one with each value."""
    total = 0
    for _ in range(rows * shape.layers * shape.heads):
        for _token in range(length):
            total += 2 * 2 * length * shape.head
    return total


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (2, 7), (3, 16)])
def test_operations_are_those_of_a_count_over_the_modules(
    family: Family, seeded: Path, rows: int, length: int
) -> None:
    found = arithmetic(seeded)
    model = AutoModel.from_pretrained(seeded).eval()
    ids = torch.ones((rows, length), dtype=torch.int64)
    attention = attention_operations(rows, length, TINY[family])
    if family is not Family.BERT:
        attention //= 2
    assert found.operations([length] * rows) == linear_operations(model, ids) + attention


def test_operations_are_those_that_torch_counts(family: Family, seeded: Path) -> None:
    model = AutoModel.from_pretrained(seeded, attn_implementation="eager").eval()
    if family is Family.BERT:
        model.pooler = None
    rows, length = 2, 9
    ids = torch.ones((rows, length), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(ids)
    found = arithmetic(seeded)
    everything = Arithmetic(
        weights=found.weights, layers=found.layers, width=found.width, causal=False
    )
    # Older versions of Transformers make the angles of positions by a product.
    angles = sum(
        sum(counts.values())
        for module, counts in counter.get_flop_counts().items()
        if module.endswith("rotary_emb")
    )
    assert everything.operations([length] * rows) == counter.get_total_flops() - angles
    assert found.causal is (family is not Family.BERT)


@given(st.lists(st.integers(1, 600), min_size=1, max_size=8), st.booleans())
def test_operations_of_texts_add_up_whatever_their_batch(lengths: list[int], causal: bool) -> None:
    counts = Arithmetic(weights=12, layers=2, width=8, causal=causal)
    assert counts.operations(lengths) == sum(counts.operations([length]) for length in lengths)


def test_the_real_shapes_have_the_weights_that_their_cards_say(
    tiny_model: Path, tmp_path: Path
) -> None:
    # Parameters without embeddings, from the model card of Qwen3-0.6B: 0.44B.
    found = SHAPES["qwen3-0.6b"]
    config = {
        "model_type": "qwen3", "hidden_size": found.width, "num_hidden_layers": found.depth,
        "num_attention_heads": found.heads, "num_key_value_heads": found.key_heads,
        "head_dim": found.head, "intermediate_size": found.inner,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert arithmetic(tmp_path).weights == pytest.approx(0.44e9, rel=0.01)
    assert arithmetic(tiny_model).causal is False


def test_an_architecture_that_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(RecipeError, match="'gpt2' model cannot be counted"):
        arithmetic(tmp_path)
