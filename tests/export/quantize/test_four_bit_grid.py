"""Weights that have four bits already are found again and kept."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from decant.export.quantize.four_bit_grid import Grid, grid_of
from decant.export.quantize.weight_only import keep_four_bits

Matrix = NDArray[np.float32]


def halved(values: NDArray[np.floating]) -> Matrix:
    """Round to 16 bits, as files of ggml hold scales."""
    return values.astype(np.float16).astype(np.float32)


def q4_0(matrix: Matrix) -> Matrix:
    """Round as ggml's ``quantize_row_q4_0``: the largest magnitude becomes -8."""
    blocks = matrix.T.reshape(matrix.shape[1], -1, 32)
    at = np.abs(blocks).argmax(axis=2, keepdims=True)
    step = np.take_along_axis(blocks, at, axis=2) / -8
    integers = np.clip(np.floor(blocks / step + 8.5), 0, 15)
    found: Matrix = (integers.astype(np.float32) - 8) * halved(step)
    rounded: Matrix = found.reshape(len(blocks), -1).T
    return rounded


def q4_1(matrix: Matrix) -> Matrix:
    """Round as ggml's ``quantize_row_q4_1``: least and largest become 0 and 15."""
    blocks = matrix.T.reshape(matrix.shape[1], -1, 32)
    least = blocks.min(axis=2, keepdims=True)
    step = (blocks.max(axis=2, keepdims=True) - least) / 15
    integers = np.clip(np.floor((blocks - least) / step + 0.5), 0, 15).astype(np.float32)
    found: Matrix = integers * halved(step) + halved(least)
    rounded: Matrix = found.reshape(len(blocks), -1).T
    return rounded


def q4_k(matrix: Matrix) -> Matrix:
    """Values as ggml's ``dequantize_row_q4_K`` gives them: ``d sc q - dmin m``, all drawn."""
    random = np.random.default_rng(matrix.shape[0])
    shape = (matrix.shape[1], matrix.shape[0] // 256, 8, 1)
    step = halved(np.full((1, 1, 1, 1), 0.0007)) * random.integers(1, 64, shape).astype(np.float32)
    least = halved(np.full((1, 1, 1, 1), 0.0031)) * random.integers(0, 64, shape).astype(np.float32)
    # Not each block uses its lowest and highest integer.
    integers = random.integers(random.integers(0, 4, shape), 13, (*shape[:3], 32))
    found = (step * integers - least).astype(np.float32)
    rounded: Matrix = found.reshape(shape[0], -1).T
    return rounded


def drawn(inputs: int, outputs: int, seed: int = 0) -> Matrix:
    random = np.random.default_rng(seed)
    return (random.standard_normal((inputs, outputs)) * 0.05).astype(np.float32)


def restored(grid: Grid) -> Matrix:
    scales = grid.scales[:, :, None]
    offsets = -8 * scales if grid.offsets is None else grid.offsets[:, :, None]
    found: Matrix = (grid.integers * scales + offsets).reshape(len(grid.scales), -1).T
    return found


@pytest.mark.parametrize("rounded", [q4_0, q4_1, q4_k])
def test_each_four_bit_type_of_ggml_is_found_again(rounded: object) -> None:
    assert callable(rounded)
    matrix = np.ascontiguousarray(rounded(drawn(256, 24)))
    grid = grid_of(matrix)
    assert grid is not None
    assert grid.integers.max() <= 15
    np.testing.assert_allclose(restored(grid), matrix, rtol=0, atol=1e-6 * np.abs(matrix).max())


def test_a_symmetric_grid_needs_no_offsets() -> None:
    grid = grid_of(q4_0(drawn(256, 70)))
    assert grid is not None
    assert grid.offsets is None


@settings(max_examples=30, deadline=None)
@given(
    levels=st.integers(1, 16),
    step=st.floats(1e-4, 10),
    start=st.floats(-10, 10),
    seed=st.integers(0, 99),
)
def test_any_few_values_at_equal_distances_are_kept(
    levels: int, step: float, start: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    integers = random.integers(0, levels, (64, 5)).astype(np.float32)
    matrix = integers * np.float32(step) + np.float32(start * step)
    grid = grid_of(matrix)
    assert grid is not None
    np.testing.assert_allclose(restored(grid), matrix, rtol=0, atol=2e-5 * step * 16)


@pytest.mark.parametrize(
    "matrix",
    [
        drawn(64, 8),
        np.rint(drawn(64, 8) * 400) / 400,  # steps, but more than fifteen
        q4_1(drawn(96, 8))[:80],  # no whole blocks
        np.full((32, 4), np.nan, np.float32),
        np.concatenate([q4_1(drawn(64, 200)), drawn(64, 1)], axis=1),  # one output of others
    ],
    ids=["floats", "more steps", "no whole blocks", "NaN", "one other output"],
)
def test_other_weights_are_not_on_a_grid(matrix: Matrix) -> None:
    assert grid_of(matrix.astype(np.float32)) is None


def model_of(*matrices: Matrix) -> ir.Model:
    """Return a graph that multiplies the same states with each matrix."""
    width = len(matrices[0])
    states = ir.val("states", dtype=ir.DataType.FLOAT, shape=ir.Shape(["batch", "tokens", width]))
    graph = ir.Graph(
        [states], [], nodes=[], opset_imports={"": 21, "com.microsoft": 1}, name="products"
    )
    for number, matrix in enumerate(matrices):
        value = ir.val(
            f"weight.{number}",
            const_value=ir.tensor(np.ascontiguousarray(matrix), name=f"weight.{number}"),
        )
        graph.register_initializer(value)
        node = ir.node("MatMul", [states, value])
        node.outputs[0].name = f"out.{number}"
        node.outputs[0].dtype = ir.DataType.FLOAT
        node.outputs[0].shape = ir.Shape(["batch", "tokens", matrix.shape[1]])
        graph.append(node)
        graph.outputs.append(node.outputs[0])
    return ir.Model(graph, ir_version=10)


def run(model: ir.Model, states: Matrix) -> list[Matrix]:
    session = InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return [np.asarray(one) for one in session.run(None, {"states": states})]


def test_products_are_those_of_the_kept_weights_but_for_states_in_eight_bits() -> None:
    matrices = [q4_1(drawn(256, 24)), q4_0(drawn(256, 16)), drawn(256, 8)]
    states = np.random.default_rng(1).standard_normal((2, 5, 256)).astype(np.float32)
    model = model_of(*matrices)
    assert keep_four_bits(model) == 3
    bits = [n.attributes["bits"].as_int() for n in model.graph if n.op_type == "MatMulNBits"]
    assert sorted(bits) == [4, 4, 8]  # what has no four bits gets eight
    assert sum(node.op_type == "ReduceSum" for node in model.graph) == 1
    for found, matrix in zip(run(model, states), matrices, strict=True):
        wanted = states @ matrix
        assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()


def test_layers_that_share_states_share_their_sums() -> None:
    model = model_of(q4_1(drawn(64, 8)), q4_1(drawn(64, 8, seed=1)))
    assert keep_four_bits(model) == 2
    assert sum(node.op_type == "ReduceSum" for node in model.graph) == 1


def test_a_model_without_such_layers_is_left_alone() -> None:
    model = model_of(drawn(64, 8))
    assert keep_four_bits(model) == 0
    assert [node.op_type for node in model.graph] == ["MatMul"]
