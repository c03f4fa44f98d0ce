"""Products with a bias become one operator, and the other precisions get them back as they were."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from decant.embedders import Choices, Pooling, TorchEncoder
from decant.embedders.onnx import Session
from decant.embedders.tokens import Tokens, pad
from decant.export.graph_maker import in_half
from decant.export.passes.fuse_bias import fuse_biases
from decant.export.passes.plain_graph import PlainGraph
from decant.export.passes.restore_token_axis import unflatten
from decant.export.trace.tracing import trace
from models import save_model

CPU = ["CPUExecutionProvider"]
LAYERS = 2


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> TorchEncoder:
    """A mean-pooled encoder whose biases are drawn; each layer has six, and all are added."""
    folder = save_model(tmp_path_factory.mktemp("bert"), "bert")
    encoder = TorchEncoder.from_pretrained(folder, choices=Choices(pooling=Pooling.MEAN))
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in encoder.model.backbone.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) / 5)
    return encoder


def kinds(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def test_every_bias_of_an_encoder_is_fused_and_restored(bert: TorchEncoder, tmp_path: Path) -> None:
    trace(bert.model, tmp_path / "model.onnx")
    traced, plain = ir.load(tmp_path / "model.onnx"), PlainGraph.load(tmp_path / "model.onnx").model
    assert kinds(traced)["Gemm"] == 6 * LAYERS
    assert kinds(plain)["Gemm"] == 0
    assert kinds(plain)["MatMul"] == 6 * LAYERS + kinds(traced)["MatMul"]
    assert kinds(plain)["Add"] == 6 * LAYERS + kinds(traced)["Add"]
    ir.save(plain, tmp_path / "plain.onnx")
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=False)
    drawn = np.random.default_rng(2)
    rows = [
        Tokens(ids=tuple(drawn.integers(7, 200, length).tolist()), counted=0)
        for length in (1, 9, 5, 40)
    ]
    for left in (False, True):
        batch = pad(rows, pad_id=0, left=left)
        expected = bert.run(batch)
        for name in ("model", "plain"):
            found = Session(tmp_path / f"{name}.onnx", CPU[0]).run(batch)
            np.testing.assert_allclose(found, expected, atol=5e-6)


@pytest.mark.slow
def test_graphs_of_half_precision_keep_products_and_sums(
    bert: TorchEncoder, tmp_path: Path
) -> None:
    trace(in_half(bert.model, torch.bfloat16), tmp_path / "model.onnx")
    assert kinds(ir.load(tmp_path / "model.onnx"))["Gemm"] == 0


def graph(lines: str, *, tokens: str = "T", outputs: str = "") -> ir.Model:
    """Return a graph of token states with matrices of two widths, shapes inferred."""
    text = f"""
        <ir_version: 10, opset_import: ["" : 20]>
        graph (float[B, {tokens}, 4] states) => (float[B, {tokens}, N] given{outputs})
            <float[4, 4] square = {{{", ".join(str(n % 5) for n in range(16))}}},
             float[4, 2] narrow = {{{", ".join(str(n) for n in range(8))}}},
             float[4] four = {{1, 2, 3, 4}}, float[2] two = {{5, 6}}, float[1] one = {{7}}>
        {{ {lines} }}
    """
    made = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))
    assert isinstance(made, ir.Model)
    return made


def run(model: ir.Model) -> list[np.ndarray]:
    states = np.random.default_rng(1).standard_normal((2, 3, 4), np.float32)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=CPU)
    return [np.asarray(value) for value in session.run(None, {"states": states})]


SQUARE = "a = MatMul(states, square) b = Add(a, four) "


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        (SQUARE + "given = Relu(b)", 1),
        ("a = MatMul(states, square) given = Add(a, four)", 1),
        ("a = MatMul(states, square) b = Add(four, a) given = Relu(b)", 1),
        (SQUARE + "c = MatMul(states, narrow) d = Add(c, two) e = MatMul(b, narrow) "
         "f = Add(e, two) given = Mul(d, f)", 3),
        (SQUARE + "c = MatMul(b, square) given = Add(c, states)", 1),  # a residual is no bias
        (SQUARE + "given = Add(a, b)", 0),  # the product is read without its bias, too
        ("a = MatMul(states, square) given = Add(a, one)", 0),
        ("a = MatMul(states, states_t) given = Add(a, four)", 0),
    ],
)  # fmt: skip
def test_biases_of_constant_products_are_fused_and_nothing_else(lines: str, count: int) -> None:
    if "states_t" in lines:
        lines = "states_t = Transpose <perm = [0, 2, 1]> (states) " + lines.replace(
            "MatMul(states, states_t)", "MatMul(states_t, states)"
        )
    model = graph(lines)
    expected = run(model)
    assert fuse_biases(model) == count
    assert kinds(model)["Gemm"] == count
    onnx.checker.check_model(ir.to_proto(model))
    for found, wanted in zip(run(model), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert unflatten(model) == count
    assert kinds(model)["Gemm"] == 0
    for found, wanted in zip(run(model), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_a_product_that_the_graph_gives_keeps_its_sum() -> None:
    model = graph(SQUARE + "given = Relu(b)", outputs=", float[B, T, 4] a")
    assert fuse_biases(model) == 0


def test_rows_and_shapes_are_made_once_for_layers_that_share_them() -> None:
    lines = (
        "a = MatMul(states, square) b = Add(a, four) c = MatMul(states, square) d = Add(c, four) "
        "given = Mul(b, d)"
    )
    model = graph(lines)
    assert fuse_biases(model) == 2
    assert kinds(model) == {"Gemm": 2, "Reshape": 3, "Shape": 1, "Concat": 1, "Mul": 1}


def test_a_fixed_number_of_tokens_is_left_alone() -> None:
    assert fuse_biases(graph(SQUARE + "given = Relu(b)", tokens="3")) == 0
