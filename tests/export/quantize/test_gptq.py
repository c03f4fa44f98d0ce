"""Rounding to few bits by GPTQ: against the definition, and what it is for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from decant.embedders import Bundle, Precision, Role
from decant.embedders.tokens import pad
from decant.export.graph.layers import linears
from decant.export.passes.plain_graph import PlainGraph
from decant.export.quantize import hessians as moments_module
from decant.export.quantize.capture import observed
from decant.export.quantize.gptq import Rounding
from decant.export.quantize.hessians import mean_moments
from decant.export.quantize.weight_only import block_of, rounded_blocks, to_weight_only

Float = NDArray[np.float64]


def drawn(
    inputs: int, outputs: int, *, tokens: int, seed: int
) -> tuple[NDArray[np.float32], Float]:
    """Return weights, and states whose inputs go together."""
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((inputs, inputs)) * (random.random(inputs) ** 2)
    states = random.standard_normal((tokens, inputs)) @ mixing
    return random.standard_normal((inputs, outputs)).astype(np.float32), states


def restored(integers: NDArray[np.uint8], scales: NDArray[np.float32], bits: int) -> Float:
    """Return the matrix (K, N) that integers and scales stand for, filling included."""
    values = (integers.astype(np.float64) - 2 ** (bits - 1)) * scales[:, :, None]
    matrix: Float = values.reshape(len(values), -1).T
    return matrix


def by_definition(matrix: Float, moments: Float, steps: Float, zero: int) -> NDArray[np.int64]:
    """Round one input after the other, inverting what is left anew each time (OBQ's update).

    Frantar et al. 2023, equations 2 and 3, in a fixed order; damping as in ``Rounding``.
    """
    inputs = len(matrix)
    left = matrix.copy()
    damped = moments + 0.1 * np.mean(np.diag(moments)) * np.eye(inputs)
    order = np.argsort(-np.diag(moments), kind="stable").tolist()
    integers = np.zeros(matrix.shape, np.int64)
    for place, at in enumerate(order):
        rest = order[place:]
        inverse = np.linalg.inv(damped[np.ix_(rest, rest)])
        integers[at] = np.clip(np.rint(left[at] / steps[at]), -zero, zero - 1)
        error = (left[at] - integers[at] * steps[at]) / inverse[0, 0]
        left[rest] -= np.outer(inverse[:, 0], error)
    return integers


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 150), st.integers(1, 9), st.sampled_from([16, 32, 128]), st.sampled_from([4, 8]),
    st.integers(0, 99),
)  # fmt: skip
def test_integers_are_those_of_the_definition(
    inputs: int, outputs: int, block: int, bits: int, seed: int
) -> None:
    matrix, states = drawn(inputs, outputs, tokens=3 * inputs, seed=seed)
    moments = states.T @ states / len(states)
    integers, scales = Rounding(moments).rounded(matrix, bits=bits, block=block)
    blocks = -(-inputs // block)
    assert integers.shape == (outputs, blocks, block)
    assert scales.shape == (outputs, blocks)
    assert integers.dtype == np.uint8
    assert scales.dtype == np.float32
    zero = 2 ** (bits - 1)
    steps = np.repeat(scales.astype(np.float64), block, axis=1).T[:inputs]
    expected = by_definition(matrix.astype(np.float64), moments, steps, zero)
    found = integers.astype(np.int64).reshape(outputs, -1).T - zero
    # A weight half way between two steps may go either way.
    assert np.mean(found[:inputs] != expected) <= 0.01
    assert not found[inputs:].any()


@pytest.mark.parametrize("bits", [4, 8])
def test_what_a_layer_gives_is_nearer_than_by_rounding_each_weight(bits: int) -> None:
    matrix, states = drawn(192, 40, tokens=400, seed=3)
    wanted = states @ matrix
    moments = states.T @ states / len(states)

    def error(integers: NDArray[np.uint8], scales: NDArray[np.float32]) -> float:
        given = states @ restored(integers, scales, bits)[:192]
        return float(np.linalg.norm(given - wanted) / np.linalg.norm(wanted))

    ours = error(*Rounding(moments).rounded(matrix, bits=bits, block=64))
    nearest = error(*rounded_blocks(matrix, bits=bits, block=64))
    assert ours < 0.75 * nearest


def test_inputs_that_do_not_go_together_are_rounded_to_the_nearest_step() -> None:
    matrix, _ = drawn(64, 8, tokens=1, seed=4)
    integers, scales = Rounding(np.diag(np.arange(64.0) + 1)).rounded(matrix, bits=4, block=32)
    steps = np.repeat(scales, 32, axis=1).T
    nearest = np.clip(np.rint(matrix / steps), -8, 7)
    np.testing.assert_allclose(restored(integers, scales, 4), nearest * steps, rtol=1e-6)


def test_inputs_that_are_always_zero_and_empty_blocks_are_no_trouble() -> None:
    matrix, states = drawn(64, 8, tokens=200, seed=5)
    states[:, 10:20] = 0
    matrix[32:] = 0
    given = states.T @ states
    before = given.copy()
    integers, scales = Rounding(given).rounded(matrix, bits=4, block=32)
    np.testing.assert_array_equal(given, before)
    assert np.isfinite(scales).all()
    found = restored(integers, scales, 4)
    assert np.abs(found[10:20] - matrix[10:20]).max() <= np.abs(scales).max() / 2 + 1e-6
    assert not found[32:].any()


@pytest.mark.parametrize(
    ("inputs", "bits", "block"),
    [(8, 4, 16), (64, 4, 64), (172, 4, 64), (384, 4, 128), (512, 4, 256), (1536, 4, 256),
     (2048, 4, 128), (512, 8, 128), (64, 8, 64)],
)  # fmt: skip
def test_blocks_are_filled_and_as_large_as_they_may_be(inputs: int, bits: int, block: int) -> None:
    assert block_of(inputs, bits=bits) == block


@pytest.fixture
def measured(tiny_bundle: Path) -> tuple[Path, list[Float], list[Float]]:
    """A graph, the moments by its groups of layers, and the same from all states at once."""
    bundle = Bundle.open(tiny_bundle)
    graph = bundle.graph(Precision.FP32)
    rows = bundle.tokenizer()(["the hat", "in a hat, what", "a"], role=Role.PASSAGE)
    found = list(mean_moments(PlainGraph.load(graph), rows, pad_id=0))
    seen = [*observed(PlainGraph.load(graph), rows, lambda _, linear: [linear.states], pad_id=0)]
    expected, names = [], set()
    layers = sorted(
        enumerate(linears(PlainGraph.load(graph).model)), key=lambda item: len(item[1].matrix)
    )
    for number, linear in layers:
        if linear.states.name not in names:
            states = np.concatenate(
                [text[number][0].reshape(-1, len(linear.matrix)) for text in seen]
            )
            assert len(states) == pad(rows, pad_id=0).attention_mask.sum()
            expected.append(states.astype(np.float64).T @ states / len(states))
        names.add(linear.states.name)
    return graph, found, expected


def test_moments_are_those_of_every_token_of_every_text(
    measured: tuple[Path, list[Float], list[Float]],
) -> None:
    graph, found, expected = measured
    assert len(found) == len(expected) < len(list(linears(PlainGraph.load(graph).model)))
    for ours, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("together", [1, 20])
def test_moments_do_not_depend_on_how_many_tokens_are_multiplied_at_a_time(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    bundle = Bundle.open(tiny_bundle)
    graph = bundle.graph(Precision.FP32)
    rows = bundle.tokenizer()(["in a hat", "what", "a hat in a hat"], role=Role.PASSAGE)
    at_once = list(mean_moments(PlainGraph.load(graph), rows, pad_id=0))
    monkeypatch.setattr(moments_module, "_TOGETHER", together)
    for one, other in zip(
        mean_moments(PlainGraph.load(graph), rows, pad_id=0), at_once, strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_layers_that_do_not_fit_in_memory_together_are_measured_one_after_the_other(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(tiny_bundle)
    graph = bundle.graph(Precision.FP32)
    rows = bundle.tokenizer()(["in a hat"], role=Role.PASSAGE)
    at_once = list(mean_moments(PlainGraph.load(graph), rows, pad_id=0))
    runs: list[int] = []

    def counted(*args: object, **more: object) -> object:
        runs.append(1)
        return observed(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(moments_module, "observed", counted)
    monkeypatch.setattr(moments_module, "_MOST", 1)
    apart = list(mean_moments(PlainGraph.load(graph), rows, pad_id=0))
    assert len(runs) == len(apart) == len(at_once)
    for one, other in zip(apart, at_once, strict=True):
        np.testing.assert_array_equal(one, other)


def test_narrow_layers_are_rounded_first_and_wider_ones_are_announced(
    measured: tuple[Path, list[Float], list[Float]],
) -> None:
    graph, found, _ = measured
    widths = [len(moments) for moments in found]
    assert widths == sorted(widths)
    assert len(set(widths)) == 2
    told: list[str] = []
    to_weight_only(PlainGraph.load(graph).model, bits=4, moments=found, before_wider=told.append)
    layers = [*linears(PlainGraph.load(graph).model)]
    narrow = sum(len(linear.matrix) == widths[0] for linear in layers)
    assert told == [f"{narrow} of {len(layers)}"]


def test_every_layer_of_a_graph_is_rounded_by_the_moments_of_its_states(
    measured: tuple[Path, list[Float], list[Float]],
) -> None:
    graph, found, _ = measured
    model = PlainGraph.load(graph).model
    first = next(linears(model))
    layers = len(list(linears(model)))
    assert to_weight_only(model, bits=4, moments=found) == layers
    products = [node for node in model.graph if node.op_type == "MatMulNBits"]
    assert len(products) == layers
    integers, _ = Rounding(found[0]).rounded(
        first.matrix, bits=4, block=block_of(len(first.matrix), bits=4)
    )
    packed = products[0].inputs[1]
    assert isinstance(packed, ir.Value)
    assert packed.const_value is not None
    halves = packed.const_value.numpy()
    unpacked = np.stack([halves & 15, halves >> 4], axis=-1).reshape(integers.shape)
    np.testing.assert_array_equal(unpacked, integers)
