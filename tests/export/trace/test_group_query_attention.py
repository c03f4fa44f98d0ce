"""Causal attention as one operator, whichever side the padding is on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel

from decant.embedders import Attention, Choices, PooledTokens, Pooling, TorchEncoder
from decant.embedders.onnx import Session
from decant.embedders.sources import Operator
from decant.embedders.tokens import Tokens, pad
from decant.export.trace.group_query_attention import fusable, right_padding_order
from decant.export.trace.tracing import trace
from models import config, save_model, traced_as

# Soft caps and windows; test_families.py certifies the rest, and the slow tests repeat them here.
FUSED = ("gemma2",)
OTHERS = sorted({*traced_as(Operator.GROUP_QUERY)} - {*FUSED})


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=5))
def test_rows_are_rolled_until_their_padding_is_at_the_end(rows: list[tuple[int, bool]]) -> None:
    width = max(length for length, _ in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.int64)
    for row, (length, left) in enumerate(rows):
        start = width - length if left else 0
        ids[row, start : start + length] = torch.arange(1, length + 1)
    rolled = ids.gather(1, right_padding_order((ids > 0).long()))
    for row, (length, _) in zip(rolled.tolist(), rows, strict=True):
        assert row == [*range(1, length + 1), *[0] * (width - length)]


@pytest.fixture(
    scope="module",
    params=[*FUSED, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)],
)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_each_layer_is_one_operator_and_equals_pytorch(tmp_path: Path, family: str) -> None:
    folder = save_model(tmp_path / "model", family)
    said = Choices(pooling=Pooling.WEIGHTED_MEAN, span=PooledTokens.TEXT)
    encoder = TorchEncoder.from_pretrained(folder, choices=said)
    assert encoder.recipe.attention is Attention.CAUSAL
    assert fusable(encoder.model)
    before = encoder.model.backbone.config._attn_implementation
    trace(encoder.model, tmp_path / "model.onnx")
    assert encoder.model.backbone.config._attn_implementation == before
    kinds = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert kinds.count("GroupQueryAttention") == 2
    assert "Softmax" not in kinds
    drawn = np.random.default_rng(0)
    rows = [
        Tokens(ids=tuple(drawn.integers(7, 200, length).tolist()), counted=min(3, length - 1))
        for length in (1, 40, 7, 9, 23)
    ]
    session = Session(tmp_path / "model.onnx", "CPUExecutionProvider")
    expected = np.concatenate([encoder.run(pad([row], pad_id=0)) for row in rows])
    for left in (False, True):
        found = session.run(pad(rows, pad_id=0, left=left))
        assert (found * expected).sum(axis=1).min() > 0.999995
    encoder.close()


@pytest.mark.slow
def test_heads_of_a_width_that_the_operator_does_not_take_are_plain(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", "qwen3")
    settings = config("qwen3")
    settings.head_dim = 10
    AutoModel.from_config(settings).save_pretrained(folder)
    encoder = TorchEncoder.from_pretrained(folder, choices=Choices(pooling=Pooling.LAST))
    assert not fusable(encoder.model)
    trace(encoder.model, tmp_path / "model.onnx")
    drawn = np.random.default_rng(0)
    rows = [Tokens(ids=tuple(drawn.integers(7, 200, n).tolist()), counted=0) for n in (1, 20, 7)]
    expected = np.concatenate([encoder.run(pad([row], pad_id=0)) for row in rows])
    session = Session(tmp_path / "model.onnx", "CPUExecutionProvider")
    for left in (False, True):
        found = session.run(pad(rows, pad_id=0, left=left))
        assert (found * expected).sum(axis=1).min() > 0.999995
    encoder.close()


def test_bidirectional_attention_is_not_taken_for_causal(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", "llama")
    said = Choices(pooling=Pooling.MEAN, attention=Attention.BIDIRECTIONAL)
    encoder = TorchEncoder.from_pretrained(folder, choices=said)
    assert not fusable(encoder.model)
    encoder.close()


@pytest.mark.parametrize("rows", [1, 2])
def test_the_operator_goes_on_from_earlier_keys_for_one_row_only(rows: int) -> None:
    """Should this fail, ``prompt_cache_attention.py`` needs no plain operators any more."""
    made = onnx.parser.parse_model(
        """
        <ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>
        graph (float[b, t, 16] q, float[b, 2, p, 8] past, int32[b] last, int32[1] all)
            => (float[b, t, 16] out)
        {
            out = com.microsoft.GroupQueryAttention <num_heads = 2, kv_num_heads = 2> (
                q, q, q, past, past, last, all)
        }
        """
    )
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {
        "q": np.zeros((rows, 3, 16), np.float32),
        "past": np.zeros((rows, 2, 4, 8), np.float32),
        "last": np.full(rows, 6, np.int32),
        "all": np.array([7], np.int32),
    }
    if rows == 1:
        (found,) = session.run(None, feeds)
        assert isinstance(found, np.ndarray)
        assert found.shape == (1, 3, 16)
    else:
        with pytest.raises(Exception, match="batch_size must be 1"):
            session.run(None, feeds)
