"""GPT-2 and OPT, whose layers work on flat states, become graphs like those of other models."""

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

from decant.embedders import Choices, Pooling, Precision, TorchEncoder, load
from decant.embedders.onnx import Session
from decant.embedders.tokens import pad
from decant.embedders.tokens.rows import Tokens
from decant.export import export
from decant.export.graph_maker import in_half
from decant.export.passes.plain_graph import PlainGraph
from decant.export.passes.restore_token_axis import unflatten
from decant.export.trace.tracing import trace
from models import save_model

CPU = ["CPUExecutionProvider"]


def folder_of(path: Path, family: str) -> Path:
    """Write a model whose biases and norms are drawn, too."""
    folder = save_model(path, family)
    encoder = TorchEncoder.from_pretrained(folder, choices=Choices(pooling=Pooling.LAST))
    torch.manual_seed(5)
    with encoder, torch.no_grad():
        for parameter in encoder.model.backbone.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) / 5)
        encoder.model.backbone.save_pretrained(folder)
    return folder


# A pooling of one token lets the pass that slices it see the flat layers, too.
@pytest.mark.parametrize(
    ("family", "pooling"),
    [("gpt2", Pooling.MEAN), ("gpt2", Pooling.LAST), ("opt", Pooling.LAST)],
)
def test_flat_layers_are_traced_as_products_of_token_states(
    tmp_path: Path, family: str, pooling: Pooling
) -> None:
    folder = folder_of(tmp_path / "model", family)
    with TorchEncoder.from_pretrained(folder, choices=Choices(pooling=pooling)) as encoder:
        trace(encoder.model, tmp_path / "model.onnx")
        drawn = np.random.default_rng(2)
        rows = [
            Tokens(ids=tuple(drawn.integers(7, 200, length).tolist()), counted=0)
            for length in (1, 9, 5, 40)
        ]
        session = Session(tmp_path / "model.onnx", CPU[0])
        for left in (False, True):
            batch = pad(rows, pad_id=0, left=left)
            np.testing.assert_allclose(session.run(batch), encoder.run(batch), atol=5e-6)
    kinds = Counter(node.op_type for node in PlainGraph.load(tmp_path / "model.onnx").model.graph)
    assert "Gemm" not in kinds
    assert kinds["MatMul"] == 2 * (4 if family == "gpt2" else 6)
    assert kinds["GroupQueryAttention"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "smaller"),
    [
        ("gpt2", [Precision.INT8]),
        ("gpt2", [Precision.W8, Precision.FP16]),
        ("opt", [Precision.INT8]),
    ],
)
def test_flat_layers_can_be_made_smaller(
    tmp_path: Path, family: str, smaller: list[Precision]
) -> None:
    folder = folder_of(tmp_path / "model", family)
    said = Choices(pooling=Pooling.MEAN)
    certificate = export(folder, tmp_path / "bundle", choices=said, precisions=smaller)
    assert certificate.failed == ()
    with load(tmp_path / "bundle", precision="int8", provider="cpu") as encoder:
        kinds = Counter(
            node.op_type for node in onnx.load(next(tmp_path.rglob("*int8*.onnx"))).graph.node
        )
        assert encoder.precision is Precision.INT8
    assert kinds["MatMulIntegerToFloat"] == 2 * (4 if family == "gpt2" else 6)


@pytest.mark.parametrize(("family", "dtype"), [("gpt2", torch.float16), ("opt", torch.bfloat16)])
def test_flat_layers_of_half_precision_keep_it(
    tmp_path: Path, family: str, dtype: torch.dtype
) -> None:
    folder = folder_of(tmp_path / "model", family)
    with TorchEncoder.from_pretrained(folder, choices=Choices(pooling=Pooling.LAST)) as encoder:
        trace(in_half(encoder.model, dtype), tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert "Gemm" not in {node.op_type for node in model.graph.node}


def graph(lines: str, outputs: str) -> ir.Model:
    """Return a graph of token states, shapes inferred where the lines do not say them."""
    text = f"""
        <ir_version: 10, opset_import: ["" : 20]>
        graph (float[B, T, 4] states) => ({outputs})
            <float[4, 4] matrix = {{{", ".join(str(n) for n in range(16))}}},
             float[4] bias = {{1, 2, 3, 4}}, int64[2] flat = {{-1, 4}},
             int64[1] zero = {{0}}>
        {{ {lines} }}
    """
    made = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))
    assert isinstance(made, ir.Model)
    return made


FLATTENED = "a = Reshape(states, flat) b = Gemm(a, matrix, bias) "


def run(model: ir.Model) -> list[np.ndarray]:
    states = np.random.default_rng(1).standard_normal((2, 3, 4), np.float32)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=CPU)
    return [np.asarray(value) for value in session.run(None, {"states": states})]


@pytest.mark.parametrize(
    ("lines", "outputs", "count"),
    [
        (FLATTENED + "c = Relu(b) d = Relu(c)", "float[N, 4] d", 1),
        (FLATTENED + "d = ReduceSum(b, zero)", "float[1, 4] d", 1),
        (FLATTENED + "c = Relu(b) e = Softmax <axis = 0> (c) d = Add(e, c)", "float[N, 4] d", 1),
        ("a = Reshape(states, flat) d = Gemm(a, matrix)", "float[N, 4] d", 0),
        ("a = Reshape(states, flat) b = Gemm <alpha = 2.0> (a, matrix) d = Relu(b)",
         "float[N, 4] d", 0),
        ("a = Reshape(states, flat) b = Gemm <transB = 1> (a, matrix) d = Relu(b)",
         "float[N, 4] d", 1),
    ],
)  # fmt: skip
def test_what_reads_flat_states_still_gets_them(lines: str, outputs: str, count: int) -> None:
    model = graph(lines, outputs)
    expected = run(model)
    assert unflatten(model) == count
    assert ("Gemm" in {node.op_type for node in model.graph}) is (count == 0)
    for found, value in zip(run(model), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-5)
