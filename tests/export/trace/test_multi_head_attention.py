"""Bidirectional attention: one operator where nothing is padded, the same vectors either way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from decant.embedders import Attention, Choices, Pooling, TorchEncoder
from decant.embedders.onnx import Session
from decant.embedders.sources import Operator
from decant.embedders.tokens import Tokens, pad
from decant.export.graph_maker import in_half
from decant.export.trace.multi_head_attention import dense
from decant.export.trace.tracing import trace
from models import save_model, traced_as

SAID = Choices(pooling=Pooling.MEAN, attention=Attention.BIDIRECTIONAL)
OTHERS = sorted({*traced_as(Operator.MULTI_HEAD)} - {"bert"})


@pytest.fixture(
    scope="module",
    params=[
        "bert",
        *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS),
    ],
)
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    save_model(folder / "model", request.param)
    encoder = TorchEncoder.from_pretrained(folder / "model", choices=SAID)
    assert dense(encoder.model)
    trace(encoder.model, folder / "model.onnx")
    encoder.close()
    return folder


def rows(lengths: list[int]) -> list[Tokens]:
    drawn = np.random.default_rng(3)
    return [Tokens(ids=tuple(drawn.integers(7, 200, n).tolist()), counted=0) for n in lengths]


def test_each_layer_asks_whether_the_batch_is_padded(traced: Path) -> None:
    graph = onnx.load(traced / "model.onnx").graph
    # ONNX Runtime's own norm stands in ONNX's domain, where the checker does not know it.
    if "SimplifiedLayerNormalization" not in {node.op_type for node in graph.node}:
        onnx.checker.check_model(str(traced / "model.onnx"), full_check=False)
    choices = [node for node in graph.node if node.op_type == "If"]
    assert len(choices) == 2
    for node in choices:
        kinds = {
            branch.name: {inner.op_type for inner in branch.g.node} for branch in node.attribute
        }
        assert kinds["then_branch"] == {"MultiHeadAttention"}
        assert "Softmax" in kinds["else_branch"]
    assert {node.domain for node in graph.node} <= {"", "com.microsoft"}
    assert "decant" not in {item.domain for item in onnx.load(traced / "model.onnx").opset_import}


@pytest.mark.parametrize("lengths", [[9], [1, 1], [12, 12, 12], [3, 40, 9], [64, 1]])
def test_padded_or_not_the_vectors_are_those_of_pytorch(traced: Path, lengths: list[int]) -> None:
    encoder = TorchEncoder.from_pretrained(traced / "model", choices=SAID)
    session = Session(traced / "model.onnx", "CPUExecutionProvider")
    expected = np.concatenate([encoder.run(pad([row], pad_id=0)) for row in rows(lengths)])
    for left in (False, True):
        found: NDArray[np.float32] = session.run(pad(rows(lengths), pad_id=0, left=left))
        np.testing.assert_allclose(found, expected, atol=2e-6)
    encoder.close()


def test_half_precision_has_no_branches(tmp_path: Path) -> None:
    save_model(tmp_path / "model", "bert")
    encoder = TorchEncoder.from_pretrained(tmp_path / "model", choices=Choices(pooling=Pooling.MAX))
    half = in_half(encoder.model, torch.float16)
    assert not dense(half)
    trace(half, tmp_path / "half.onnx")
    assert "If" not in {node.op_type for node in onnx.load(tmp_path / "half.onnx").graph.node}
    encoder.close()
