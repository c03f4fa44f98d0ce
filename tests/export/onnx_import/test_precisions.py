"""Graphs of older opsets, as most of the hub's are, become smaller like our own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from decant.embedders import Choices, Pooling, Precision, Role, load
from decant.export import convert, import_onnx
from decant.export.quantize import activation_scales
from foreign_graphs import TOKENS_SEE_ALL, scripted, toy
from models import WIDTH, save_sentence_transformer

TEXTS = ["the hat", "in a hat, what", "a"]
LAYERS = TOKENS_SEE_ALL.replace(
    "last_hidden_state = Tanh (mixed)",
    """
    first = MatMul (mixed, turn)
    biased = Add (first, bias)
    bent = Tanh (biased)
    last_hidden_state = MatMul (bent, turn)
    """,
)


SLOW = [pytest.mark.slow]


@pytest.fixture(params=[14, pytest.param(17, marks=SLOW), pytest.param(18, marks=SLOW)])
def sealed(request: pytest.FixtureRequest, bare_folder: Path, tmp_path: Path) -> Path:
    """Seal a graph with two linear layers, of one opset."""
    drawn = np.random.default_rng(1)
    weights: dict[str, NDArray[np.generic]] = {
        "turn": drawn.normal(size=(WIDTH, WIDTH)).astype(np.float32) / 4,
        "bias": drawn.normal(size=WIDTH).astype(np.float32),
    }
    graph = toy(tmp_path / "toy.onnx", LAYERS, opset=request.param, weights=weights)
    said = Choices(pooling=Pooling.MEAN)
    assert import_onnx(graph, bare_folder, tmp_path / "sealed", choices=said).passed
    return tmp_path / "sealed"


def near(sealed: Path, precision: str) -> bool:
    """Tell whether a precision's vectors are near those of float32."""
    found = []
    for kind in ("fp32", precision):
        with load(sealed, precision=kind, provider="cpu") as encoder:
            found.append(encoder.encode(TEXTS, role=Role.PASSAGE).dense)
    return bool((found[0] * found[1]).sum(axis=1).min() >= 0.95)


@pytest.mark.parametrize("precision", ["int8", "w8", "w4", "fp16"])
def test_a_graph_of_any_opset_becomes_smaller(sealed: Path, precision: str) -> None:
    certificate = convert(sealed, precision)
    assert certificate.failed == ()
    assert Precision(precision) in {entry.precision for entry in certificate.entries}
    assert near(sealed, precision)


def test_scales_by_token_are_computed_at_any_opset(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation_scales, "MOST_NOISE", 0)
    assert convert(sealed, "int8").failed == ()
    graph = onnx.load(sealed / "onnx" / "model_int8.onnx").graph
    assert Counter(node.op_type for node in graph.node)["ReduceMin"] == 2
    assert near(sealed, "int8")


@pytest.mark.parametrize("pooling", [Pooling.MEAN, Pooling.FIRST])
def test_layers_of_tokens_on_one_axis_become_smaller_whatever_is_pooled(
    bare_folder: Path, tmp_path: Path, pooling: Pooling
) -> None:
    """As tf2onnx writes them."""
    drawn = np.random.default_rng(1)
    weights: dict[str, NDArray[np.generic]] = {
        "turn": drawn.normal(size=(WIDTH, WIDTH)).astype(np.float32) / 4,
        "bias": drawn.normal(size=WIDTH).astype(np.float32),
        "flat": np.array([-1, WIDTH]),
    }
    lines = LAYERS.replace("MatMul (mixed", "MatMul (rows").replace(
        "first =", "whole = Shape (mixed)\n rows = Reshape (mixed, flat)\n first ="
    )
    lines = lines.replace("last_hidden_state =", "second =")
    lines += "last_hidden_state = Reshape (second, whole)"
    graph = toy(tmp_path / "toy.onnx", lines, weights=weights)
    import_onnx(graph, bare_folder, tmp_path / "sealed", choices=Choices(pooling=pooling))
    assert convert(tmp_path / "sealed", "w8").failed == ()
    made = onnx.load(tmp_path / "sealed" / "onnx" / "model_w8.onnx").graph
    assert Counter(node.op_type for node in made.node)["MatMulNBits"] == 2
    assert near(tmp_path / "sealed", "w8")


def test_gpt2_as_optimum_writes_it_becomes_smaller_under_a_mean(tmp_path: Path) -> None:
    """Its linear layers are ``Gemm`` of all tokens; only behind attention no shape is known."""
    folder = save_sentence_transformer(tmp_path / "gpt2", "gpt2", pooling="mean")
    graph = scripted(folder, tmp_path / "gpt2.onnx", ("input_ids", "attention_mask"))
    import_onnx(graph, folder, tmp_path / "sealed")
    assert convert(tmp_path / "sealed", "w8").failed == ()
    made = onnx.load(tmp_path / "sealed" / "onnx" / "model_w8.onnx").graph
    kinds = Counter(node.op_type for node in made.node)
    assert (kinds["MatMulNBits"], kinds["Gemm"]) == (6, 2)
    assert near(tmp_path / "sealed", "w8")
