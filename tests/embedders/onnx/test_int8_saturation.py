"""Products of integers are exact in our sessions, and weights are made uint8 only if they must."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from decant.embedders import Role, load
from decant.embedders.onnx import session as session_module
from decant.embedders.onnx.int8_saturation import int8_products_saturate
from decant.embedders.onnx.product_graph import RESULT, STATES, product_graph
from decant.export import convert

TEXTS = ["a", "some more words", "and a text of many more words than the two before it " * 3]


def multiplied(weights: NDArray[np.generic], states: NDArray[np.generic]) -> NDArray[np.generic]:
    found = onnxruntime.InferenceSession(
        product_graph(weights), providers=["CPUExecutionProvider"]
    ).run([RESULT], {STATES: states})[0]
    return np.asarray(found)


@pytest.mark.parametrize(("rows", "k", "n"), [(1, 1, 1), (3, 5, 7), (40, 64, 33)])
def test_the_file_of_a_product_is_valid_and_multiplies(rows: int, k: int, n: int) -> None:
    drawn = np.random.default_rng(0)
    weights = drawn.standard_normal((k, n)).astype(np.float32)
    states = drawn.standard_normal((rows, k)).astype(np.float32)
    onnx.checker.check_model(onnx.load_model_from_string(product_graph(weights)), full_check=True)
    assert np.allclose(multiplied(weights, states), states @ weights, atol=1e-4)


def test_the_file_of_a_product_of_integers_is_valid_and_multiplies() -> None:
    drawn = np.random.default_rng(0)
    weights = drawn.integers(-8, 8, (24, 9)).astype(np.int8)
    states = drawn.integers(0, 256, (4, 24)).astype(np.uint8)
    onnx.checker.check_model(onnx.load_model_from_string(product_graph(weights)), full_check=True)
    found = multiplied(weights, states)
    for row, column in product(range(4), range(9)):
        assert found[row, column] == sum(
            int(state) * int(weight)
            for state, weight in zip(states[row], weights[:, column], strict=True)
        )


def test_saturation_is_found_exactly_where_random_products_are_wrong() -> None:
    drawn = np.random.default_rng(0)
    weights = drawn.integers(-127, 128, (512, 200)).astype(np.int8)
    states = drawn.integers(0, 256, (50, 512)).astype(np.uint8)
    exact = states.astype(np.int64) @ weights.astype(np.int64)
    assert int8_products_saturate() == bool((multiplied(weights, states) != exact).any())


def test_int8_vectors_are_the_same_whether_or_not_weights_are_made_uint8(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if int8_products_saturate():
        pytest.skip("on this processor weights must be uint8")
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    convert(bundle, "int8")
    found = []
    for saturates in (True, False):
        monkeypatch.setattr(session_module, "int8_products_saturate", lambda it=saturates: it)
        with load(bundle, provider="cpu", precision="int8") as encoder:
            found.append(encoder.encode(TEXTS, role=Role.PASSAGE).dense)
    assert (found[0] == found[1]).all()
