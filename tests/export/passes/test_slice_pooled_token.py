"""What a pooling of one token does not read is not computed, and the vectors stay the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from decant.embedders import Choices, LayerMix, PooledTokens, Pooling, TorchEncoder
from decant.embedders.onnx import Session
from decant.embedders.tokens import TokenBatch, Tokens, pad
from decant.export.passes.plain_graph import PlainGraph
from decant.export.passes.slice_pooled_token import prune_unread
from decant.export.trace.tracing import trace
from models import DECODERS, ENCODERS, save_model

CPU = ["CPUExecutionProvider"]
QUICK = ("qwen3", "bert")
# Products behind the attention of a layer: output, gate, up, down.
GATED = {
    "llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text", "nomic_bert", "umt5", "t5gemma",
}  # fmt: skip


def products(family: str) -> int:
    return 4 if family in GATED else 3


Traced = tuple[str, TorchEncoder, Path]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(family, marks=[] if family in QUICK else [pytest.mark.slow])
        for family in (*DECODERS, *ENCODERS)
    ],
)
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    """Trace a decoder with a shareable prompt, whose layers branch, or an encoder."""
    family = str(request.param)
    folder = tmp_path_factory.mktemp(family)
    pooling = Pooling.FIRST if family in ENCODERS else Pooling.LAST
    said = Choices(pooling=pooling, span=PooledTokens.TEXT, query_prompt="find: {text}")
    encoder = TorchEncoder.from_pretrained(save_model(folder / "model", family), choices=said)
    trace(encoder.model, folder / "model.onnx")
    return family, encoder, folder / "model.onnx"


def rows(lengths: list[int]) -> list[Tokens]:
    drawn = np.random.default_rng(3)
    return [
        Tokens(ids=tuple(drawn.integers(7, 200, n).tolist()), counted=min(2, n - 1))
        for n in lengths
    ]


def with_holes(batch: TokenBatch) -> TokenBatch:
    """Let half of the tokens count, and at least one in a row."""
    drawn = np.random.default_rng(4).integers(0, 2, batch.pooling_mask.shape)
    kept = np.where((batch.pooling_mask * drawn).any(axis=1, keepdims=True), drawn, 1)
    return replace(batch, pooling_mask=batch.pooling_mask * kept)


@pytest.mark.parametrize("lengths", [[9], [1], [1, 1], [12, 12, 12], [3, 40, 1, 2]])
@pytest.mark.parametrize("left", [False, True])
def test_the_vectors_are_those_of_pytorch(traced: Traced, lengths: list[int], left: bool) -> None:
    _, encoder, path = traced
    session = Session(path, CPU[0])
    expected = np.concatenate([encoder.run(pad([row], pad_id=0)) for row in rows(lengths)])
    batch = pad(rows(lengths), pad_id=0, left=left)
    np.testing.assert_allclose(session.run(batch), expected, atol=5e-6)
    holes = with_holes(batch)
    np.testing.assert_allclose(session.run(holes), encoder.run(holes), atol=5e-6)


def test_products_behind_the_last_attention_see_one_token_a_row(traced: Traced) -> None:
    family, _, path = traced
    model = ir.to_proto(PlainGraph.load(path).model)
    found = [node.output[0] for node in model.graph.node if node.op_type == "MatMul"]
    for name in found:
        shown = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        model.graph.output.append(shown)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=CPU)
    batch = pad(rows([5, 11, 8]), pad_id=0)
    feeds = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "pooling_mask": batch.pooling_mask,
    }
    shapes = [np.asarray(value).shape[:2] for value in session.run(found, feeds)]
    assert shapes.count((3, 1)) == products(family)
    # Keys and values, and the layer below, are of all tokens.
    assert shapes.count((3, 11)) >= products(family) + 2


@pytest.mark.slow
def test_a_mix_of_layers_reads_one_token_of_each(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", "llama")
    said = Choices(pooling=Pooling.LAST, mix=LayerMix())
    with TorchEncoder.from_pretrained(folder, choices=said) as encoder:
        trace(encoder.model, tmp_path / "model.onnx")
        batch = pad(rows([3, 40, 1]), pad_id=0)
        found = Session(tmp_path / "model.onnx", CPU[0]).run(batch)
        np.testing.assert_allclose(found, encoder.run(batch), atol=5e-6)
    kinds = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert kinds.count("ArgMax") == 1


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(Choices(pooling=Pooling.LAST, token_embeddings=True), marks=pytest.mark.slow),
        pytest.param(Choices(pooling=Pooling.MEAN), marks=pytest.mark.slow),
        pytest.param(Choices(pooling=Pooling.MAX), marks=pytest.mark.slow),
    ],
    ids=["token states", "mean", "max"],
)
def test_graphs_that_read_all_tokens_compute_all(tmp_path: Path, said: Choices) -> None:
    folder = save_model(tmp_path / "model", "llama")
    with TorchEncoder.from_pretrained(folder, choices=said) as encoder:
        trace(encoder.model, tmp_path / "model.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert not kinds & {"ArgMax", "GatherND"}


def graph(lines: list[str], outputs: str = "") -> ir.Model:
    """Return a graph of two token states whose value ``hidden`` is pooled, shapes inferred."""
    text = f"""
        <ir_version: 10, opset_import: ["" : 20]>
        graph (float[B, T, 4] below, float[B, T, 4] mixed, float[B, T] weights,
               float[4, 4] matrix, float[T, 4] columns)
            => (float[B, 4] pooled{outputs})
            <int64[1] width = {{-1}}, int64[1] length = {{1}}, int64 axis = {{1}},
             float[4] bias = {{1, 2, 3, 4}}>
        {{
            {" ".join(lines)}
            pooled = Einsum <equation = "bt,btd->bd"> (weights, hidden)
        }}
    """
    made = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))
    assert isinstance(made, ir.Model)
    return made


def shapes_of(model: ir.Model) -> dict[str, str]:
    """Return the shape of each value that the text of a graph names."""
    values = [value for node in model.graph for value in node.outputs]
    named = {str(value.name): str(value.shape) for value in values}
    return {name: shape for name, shape in named.items() if not name.startswith("decant")}


def narrowed(model: ir.Model, before: dict[str, str]) -> set[str]:
    """Return the names of what has one token a row, and had more."""
    after = shapes_of(model)
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert all(after[name].startswith("[B,1,") for name in changed)
    return changed


MLP = ["a = MatMul(mixed, matrix)", "b = Add(below, a)", "c = Sigmoid(b)", "hidden = Mul(b, c)"]


def test_a_residual_and_what_follows_it_keep_one_token() -> None:
    model = graph(MLP)
    before = shapes_of(model)
    assert prune_unread(model, Pooling.LAST) == 4
    assert narrowed(model, before) == {"a", "b", "c", "hidden"}
    kinds = [node.op_type for node in model.graph]
    assert kinds.count("GatherND") == 3  # both inputs and the weights
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


@pytest.mark.parametrize("pooling", sorted(set(Pooling) - {Pooling.FIRST, Pooling.LAST}))
def test_other_poolings_leave_the_graph_as_it_is(pooling: Pooling) -> None:
    model = graph(MLP)
    before = ir.to_proto(model).SerializeToString()
    assert prune_unread(model, pooling) == 0
    assert ir.to_proto(model).SerializeToString() == before


@pytest.mark.parametrize(
    ("lines", "outputs", "expected"),
    [
        (MLP, ", float[B, T, 4] b", set()),
        ([*MLP, "other = Transpose(b)"], ", float[M, N, O] other", set()),
        (
            ["a = MatMul(mixed, matrix)", "p = Add(a, columns)", "hidden = MatMul(p, matrix)"],
            "",
            {"hidden"},
        ),
        (["a = MatMul(mixed, matrix)", "hidden = Softmax <axis = 1> (a)"], "", set()),
        (
            ["a = MatMul(mixed, matrix)", "m = ReduceMean(a, length)", "hidden = Sub(a, m)"],
            "",
            set(),
        ),
        (["a = Sigmoid(mixed)", "hidden = Add(a, bias)"], "", set()),
        (["hidden = Identity(mixed)"], "", set()),
    ],
    ids=[
        "an output of its own",
        "another reader",
        "positions",
        "a softmax over tokens",
        "a mean over tokens",
        "no product",
        "nothing",
    ],
)
def test_what_is_read_elsewhere_or_mixes_tokens_keeps_all(
    lines: list[str], outputs: str, expected: set[str]
) -> None:
    model = graph(lines, outputs)
    before, written = shapes_of(model), ir.to_proto(model).SerializeToString()
    assert prune_unread(model, Pooling.FIRST) == len(expected)
    assert narrowed(model, before) == expected
    if not expected:
        assert ir.to_proto(model).SerializeToString() == written


# Each takes one value of (B, T, 4), or two, and gives another.
_OPERATORS = (
    "{o} = Add({a}, {b})",
    "{o} = Mul({a}, {b})",
    "{o} = Sigmoid({a})",
    "{o} = MatMul({a}, matrix)",
    "{o} = Add({a}, bias)",
    "{o} = Softmax <axis = -1> ({a})",
    "{o} = LayerNormalization <axis = -1> ({a}, bias)",
    "{o}_m = ReduceMean({a}, width) {o} = Sub({b}, {o}_m)",
    "{o}_l, {o}_r = Split <axis = 2, num_outputs = 2> ({a}) {o} = Concat <axis = 2> ({o}_r, {o}_l)",
    # Tokens see others, or where they stand.
    "{o} = Softmax <axis = 1> ({a})",
    "{o} = CumSum({a}, axis)",
    "{o} = Mul({a}, columns)",
    "{o}_m = ReduceMean({a}, length) {o} = Add({b}, {o}_m)",
    "{o} = LayerNormalization <axis = 1> ({a}, columns)",
)
_STEPS = st.tuples(st.sampled_from(_OPERATORS), st.integers(0, 9))


def run(model: ir.Model, feeds: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), options, providers=CPU
    )
    return [np.asarray(value) for value in session.run(None, feeds)]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(_STEPS, max_size=7),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.booleans(),
)
def test_any_graph_gives_what_it_gave(
    steps: list[tuple[str, int]], read: list[int], shown: bool
) -> None:
    names, lines = ["below", "mixed"], []
    for operator, back in steps:
        other, made = names[back % len(names)], f"v{len(names)}"
        lines.append(operator.format(a=names[-1], b=other, o=made))
        names.append(made)
    lines.append(f"hidden = MatMul({names[-1]}, matrix)")
    output = f", float[B, T, 4] {names[len(names) // 2]}" if shown and len(steps) > 2 else ""
    drawn = np.random.default_rng(1)
    batch = (len(read), 5, 4)
    feeds = {
        "below": drawn.standard_normal(batch, np.float32),
        "mixed": drawn.standard_normal(batch, np.float32),
        "weights": np.eye(5, dtype=np.float32)[read],
        "matrix": drawn.standard_normal((4, 4), np.float32),
        "columns": drawn.standard_normal((5, 4), np.float32),
    }
    model = graph(lines, output)
    expected = run(model, feeds)
    assert prune_unread(model, Pooling.LAST) >= 1
    for found, value in zip(run(model, feeds), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)
