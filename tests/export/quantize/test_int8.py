"""Eight bits: which scale states get, and that graphs compute what the formulas say."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor_value_info,
)

from decant.embedders import Bundle, BundleError, Precision, Role, TextError
from decant.embedders.onnx import Session
from decant.embedders.tokens import TokenBatch
from decant.export import convert
from decant.export.certify.probes import PLAIN, SENTENCE
from decant.export.graph.layers import linears
from decant.export.passes.plain_graph import PlainGraph
from decant.export.quantize.activation_ranges import Range, measure_ranges
from decant.export.quantize.activation_scales import MOST_NOISE, Way, chosen_scale
from decant.export.quantize.calibration_texts import _PARAGRAPHS, _SHORT
from decant.export.quantize.capture import observed
from decant.export.quantize.int8 import to_int8

TOKENS, INPUTS, OUTPUTS = 300, 48, 32
FLOAT = onnx.TensorProto.FLOAT
Array = NDArray[np.float32]
Change = Callable[[Array], Array]


def drawn(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def seen(states: Array, matrix: Array) -> Range:
    """What measuring would find of states (T, K)."""
    squares = np.square(states.astype(np.float64))
    energy = squares.sum(axis=1, keepdims=True)

    def typical(values: NDArray[np.float64]) -> float:
        return float(np.exp(np.log(values + 1e-20).mean()))

    return Range(
        low=states.min(axis=0),
        high=states.max(axis=0),
        squares=(squares / energy).mean(axis=0) * typical(energy),
        peak=typical(squares.max(axis=1)),
        signal=typical(np.square(states @ matrix, dtype=np.float64).sum(axis=1)),
    )


def with_loud_channel(states: Array) -> Array:
    return states * np.where(np.arange(states.shape[1]) == 5, 40, 1).astype(np.float32)


def with_loud_tokens(states: Array) -> Array:
    loud = states.copy()
    loud[::50, ::7] = 60 * np.abs(loud[::50, ::7])
    return loud


@pytest.mark.parametrize(
    ("change", "way"),
    [(lambda x: x, Way.ONCE), (with_loud_channel, Way.SMOOTHED), (with_loud_tokens, Way.TOKEN)],
    ids=["even", "a loud channel", "loud tokens"],
)
def test_states_get_the_cheapest_scale_that_is_good(change: Change, way: Way) -> None:
    states = change(drawn(0, TOKENS, INPUTS))
    matrix = drawn(1, INPUTS, OUTPUTS)
    assert chosen_scale([seen(states, matrix)], [matrix], shared=False).way is way


@given(st.integers(0, 99), st.sampled_from([with_loud_channel, with_loud_tokens, np.copy]))
def test_a_scale_set_beforehand_has_as_little_noise_as_it_was_chosen_for(
    seed: int, change: Change
) -> None:
    states = change(drawn(seed, TOKENS, INPUTS))
    matrix = drawn(seed + 1, INPUTS, OUTPUTS)
    scale = chosen_scale([seen(states, matrix)], [matrix], shared=False)
    if scale.way is Way.TOKEN:
        return
    factors = np.ones(INPUTS) if scale.factors is None else scale.factors
    integers = np.clip(np.rint(states / factors / scale.step) + scale.zero, 0, 255)
    heard = (integers - scale.zero) * scale.step
    weights = matrix * factors[:, None]
    steps = np.abs(weights).max(axis=0) / 127
    off = heard @ (np.rint(weights / steps) * steps) - states @ matrix
    noise = np.square(off).sum(axis=1) / np.square(states @ matrix).sum(axis=1)
    assert np.median(noise) < 1.5 * MOST_NOISE  # the formula takes errors for independent
    assert 0 <= scale.zero <= 255


def two_layers(*, gelu: bool) -> ir.Model:
    """Two layers that read the same states, the first with a bias."""
    constants = {"w1": drawn(1, INPUTS, OUTPUTS), "w2": drawn(2, INPUTS, OUTPUTS)}
    constants["bias"] = drawn(3, OUTPUTS)
    nodes = [
        make_node("Gelu" if gelu else "Identity", ["states"], ["read"]),
        make_node("MatMul", ["read", "w1"], ["product"]),
        make_node("Add", ["product", "bias"], ["first"]),
        make_node("MatMul", ["read", "w2"], ["second"]),
    ]
    graph = make_graph(
        nodes,
        "layers",
        [make_tensor_value_info("states", FLOAT, ["b", "t", INPUTS])],
        [make_tensor_value_info(name, FLOAT, ["b", "t", OUTPUTS]) for name in ("first", "second")],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 20)], ir_version=10)
    return ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(model))


def exactly() -> onnxruntime.SessionOptions:
    """Return options under which products of integers are exact on every processor."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def ran(model: ir.Model, states: Array) -> list[Array]:
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), exactly(), providers=["CPUExecutionProvider"]
    )
    feeds = {"states": states.reshape(2, TOKENS // 2, INPUTS)}
    return [np.asarray(found).reshape(TOKENS, OUTPUTS) for found in session.run(None, feeds)]


@pytest.mark.parametrize(
    ("change", "gelu", "kinds"),
    [
        (np.copy, False, {"QuantizeLinear": 1, "Mul": 0, "Add": 0}),
        (with_loud_channel, False, {"QuantizeLinear": 1, "Mul": 1, "Add": 0}),
        (with_loud_tokens, False, {"ReduceMin": 1, "ReduceMax": 1, "Mul": 2, "Add": 1}),
        (with_loud_tokens, True, {"ReduceMin": 0, "ReduceMax": 1, "Mul": 2, "Add": 1}),
    ],
    ids=["once", "smoothed", "token", "token behind Gelu"],
)
def test_layers_that_share_states_are_quantised_together_and_near(
    change: Change, gelu: bool, kinds: dict[str, int]
) -> None:
    model, states = two_layers(gelu=gelu), change(drawn(0, TOKENS, INPUTS))
    expected = ran(model, states)
    read = gelu_of(states) if gelu else states
    found = [seen(read, drawn(seed, INPUTS, OUTPUTS)) for seed in (1, 2)]
    assert to_int8(model, found) == 2
    counted = Counter(node.op_type for node in model.graph)
    assert counted["MatMulIntegerToFloat"] == 2
    assert {kind: counted[kind] for kind in kinds} == kinds
    for rounded, wanted in zip(ran(model, states), expected, strict=True):
        noise = np.square(rounded - wanted).sum(axis=1) / np.square(wanted).sum(axis=1)
        assert np.median(noise) < 1.5 * MOST_NOISE


def test_the_largest_integers_do_not_saturate(tmp_path: Path) -> None:
    """On x86 without VNNI two products of 255 and 127 are more than 16 bits hold."""
    made = onnx.parser.parse_model(
        f"""
        <ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>
        largest (int64[n, {INPUTS}] input_ids) => (float[n, {OUTPUTS}] y) {{
            one = Constant <value = float {{1.0}}> ()
            zero = Constant <value = uint8 {{0}}> ()
            states = Cast <to = 2> (input_ids)
            y = com.microsoft.MatMulIntegerToFloat (states, weights, one, one, zero)
        }}
        """
    )
    weights = np.full((INPUTS, OUTPUTS), 127, np.int8)
    made.graph.initializer.append(onnx.numpy_helper.from_array(weights, "weights"))
    path = tmp_path / "largest.onnx"
    onnx.save(made, path)
    ids = np.full((2, INPUTS), 255)
    batch = TokenBatch(input_ids=ids, attention_mask=ids, pooling_mask=ids)
    (found,) = Session(path, "CPUExecutionProvider").outputs_of(batch, ["y"])
    assert found.tolist() == [[255 * 127 * INPUTS] * OUTPUTS] * 2


@pytest.mark.parametrize("first", [np.copy, with_loud_channel, with_loud_tokens])
@pytest.mark.parametrize("second", [with_loud_channel, with_loud_tokens, lambda x: 30 * x])
def test_states_that_meet_the_same_matrix_have_scales_of_their_own(
    first: Change, second: Change
) -> None:
    """As DeBERTa-v3 multiplies its positions with the matrices of its states."""
    read = [first(drawn(0, TOKENS, INPUTS)), second(drawn(1, TOKENS, INPUTS))]
    matrix = drawn(2, INPUTS, OUTPUTS)
    sizes = [f"float[b, t, {INPUTS}] {name}" for name in "xy"]
    model = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 20]>
        layers ({", ".join(sizes)}) => (float[b, t, {OUTPUTS}] of_x, float[b, t, {OUTPUTS}] of_y)
        {{ of_x = MatMul (x, matrix) of_y = MatMul (y, matrix) }}
    """)
    model.graph.initializer.append(onnx.numpy_helper.from_array(matrix, "matrix"))
    made = ir.serde.deserialize_model(model)
    assert to_int8(made, [seen(states, matrix) for states in read]) == 2
    stored = [
        name for name, value in made.graph.initializers.items() if value.shape == matrix.shape
    ]
    assert stored == ["matrix.uint8"]
    session = onnxruntime.InferenceSession(
        ir.to_proto(made).SerializeToString(), exactly(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {name: x[None] for name, x in zip("xy", read, strict=True)})
    for rounded, states in zip(found, read, strict=True):
        wanted = states @ matrix
        noise = np.square(np.asarray(rounded)[0] - wanted).sum(axis=1) / np.square(wanted).sum(
            axis=1
        )
        assert np.median(noise) < 1.5 * MOST_NOISE


def gelu_of(states: Array) -> Array:
    return (
        np.asarray([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in states.flat])
        .reshape(states.shape)
        .astype(np.float32)
    )


def test_ranges_are_those_of_every_token_of_every_text(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    graph = bundle.graph(Precision.FP32)
    rows = bundle.tokenizer()(["the hat", "in a hat, what", "a"], role=Role.PASSAGE)
    found = measure_ranges(PlainGraph.load(graph), rows, pad_id=0)
    watched = [*observed(PlainGraph.load(graph), rows, lambda _, linear: [linear.states], pad_id=0)]
    layers = list(linears(PlainGraph.load(graph).model))
    assert len(found) == len(layers)
    for number, (layer, range_) in enumerate(zip(layers, found, strict=True)):
        states = np.concatenate(
            [text[number][0].reshape(-1, len(layer.matrix)) for text in watched]
        )
        expected = seen(states, layer.matrix)
        for name in ("low", "high", "squares", "peak", "signal"):
            np.testing.assert_allclose(
                getattr(range_, name), getattr(expected, name), rtol=1e-4, atol=1e-5
            )


def test_ranges_can_be_those_of_the_users_texts(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    convert(bundle, "int8")
    ours = Bundle.open(bundle).manifest.files["onnx/model_int8.onnx"]
    convert(bundle, "int8", texts=(text for text in ["a", "the hat"]))
    theirs = Bundle.open(bundle).manifest.files["onnx/model_int8.onnx"]
    convert(bundle, "int8", texts=["the hat", "a"])
    assert theirs == Bundle.open(bundle).manifest.files["onnx/model_int8.onnx"] != ours


@pytest.mark.parametrize(
    ("precision", "texts", "error", "told"),
    [
        ("int8", [], TextError, "no text to measure ranges on"),
        ("int8", ["a", ""], TextError, "text 1 is empty"),
        ("w8", ["a"], BundleError, "texts show ranges for int8; w8 has none"),
    ],
)
def test_texts_that_show_no_ranges_are_refused_and_change_nothing(
    tiny_bundle: Path, precision: str, texts: list[str], error: type[Exception], told: str
) -> None:
    before = Bundle.open(tiny_bundle).manifest
    with pytest.raises(error, match=told):
        convert(tiny_bundle, precision, texts=texts)
    assert Bundle.open(tiny_bundle).manifest == before


def test_no_text_for_ranges_is_a_probe_of_the_certificate() -> None:
    assert not {*_SHORT, *_PARAGRAPHS} & {*PLAIN}
    assert all(SENTENCE not in text for text in _PARAGRAPHS)
