"""Codes of vectors: against sentence-transformers and a loop, their error, and what is refused."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import assert_never

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from sentence_transformers.util.quantization import quantize_embeddings

from decant.embedders import (
    Attention,
    HashEncoder,
    Pooling,
    Quantization,
    QuantizationError,
    Quantizer,
    Recipe,
    Role,
    VectorRanges,
)

RECIPE = Recipe(base="m", attention=Attention.CAUSAL, pooling=Pooling.LAST, max_tokens=8)
SCALAR = [Quantization.INT8, Quantization.UINT8]
EPSILON = np.finfo(np.float32).eps


def drawn(count: int, dim: int, *, seed: int) -> NDArray[np.float32]:
    """Unit vectors, as encoders give them."""
    found = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def peer_codes(
    kind: Quantization, given_vectors: NDArray[np.float32], ranges: NDArray[np.float32]
) -> NDArray[np.int8] | NDArray[np.uint8]:
    match kind:
        case Quantization.INT8:
            found = quantize_embeddings(given_vectors, "int8", ranges=ranges)
        case Quantization.UINT8:
            found = quantize_embeddings(given_vectors, "uint8", ranges=ranges)
        case Quantization.UBINARY:
            found = quantize_embeddings(given_vectors, "ubinary")
        case _:
            assert_never(kind)
    return np.asarray(found)


def quantizer(kind: str, vectors: NDArray[np.float32]) -> Quantizer:
    calibration = VectorRanges.of(vectors, recipe=RECIPE)
    return Quantizer(kind=Quantization(kind), calibration=calibration)


@st.composite
def vectors(draw: st.DrawFn) -> NDArray[np.float32]:
    """Two rows or more of which no column is constant, of any size that float32 divides well."""
    dim = draw(st.integers(1, 6))
    numbers = st.floats(-(2.0**100), 2.0**100, width=32).map(lambda x: 0.0 if abs(x) < 1e-20 else x)
    shape = st.tuples(st.integers(2, 8), st.just(dim))
    found = draw(arrays.arrays(np.float32, shape, elements=numbers))
    spread = draw(arrays.arrays(np.float32, dim, elements=st.floats(1, 2, width=32)))
    # The last row lies above all others by some part of the largest value.
    found[-1] = found.max(axis=0) + spread * np.maximum(np.abs(found).max(axis=0), 1e-10)
    return found


@pytest.mark.parametrize("kind", Quantization)
@pytest.mark.parametrize("dim", [384, 13])
def test_codes_are_those_of_sentence_transformers(kind: Quantization, dim: int) -> None:
    seen, asked = drawn(500, dim, seed=1), drawn(300, dim, seed=2)
    ranges = np.stack([seen.min(axis=0), seen.max(axis=0)])
    inside = np.clip(asked, *ranges)
    assert not np.array_equal(inside, asked)
    for given_vectors in (seen, inside, asked):
        expected = peer_codes(kind, given_vectors, ranges)
        found = quantizer(kind, seen).quantize(given_vectors)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@given(vectors())
def test_codes_are_bucket_numbers_counted_one_by_one(given_vectors: NDArray[np.float32]) -> None:
    made = quantizer("uint8", given_vectors)
    ranges = made.calibration
    assert ranges is not None
    codes = made.quantize(given_vectors)
    for row, code_row in zip(given_vectors, codes, strict=True):
        for value, code, low, step in zip(row, code_row, ranges.low, ranges.steps, strict=True):
            exact = (float(value) - float(low)) / float(step)
            # One rounding of the difference and one of the quotient lie between the two.
            assert math.floor(exact - 1e-3) <= code <= math.floor(exact + 1e-3)
    signed = quantizer("int8", given_vectors).quantize(given_vectors)
    np.testing.assert_array_equal(signed.astype(np.int16), codes.astype(np.int16) - 128)


@pytest.mark.parametrize("kind", SCALAR)
@given(given_vectors=vectors())
def test_a_value_inside_its_range_comes_back_to_half_a_step(
    kind: Quantization, given_vectors: NDArray[np.float32]
) -> None:
    made = quantizer(kind, given_vectors)
    ranges = made.calibration
    assert ranges is not None
    back = made.dequantize(made.quantize(given_vectors)).astype(np.float64)
    largest = np.maximum(np.abs(ranges.low), np.abs(ranges.high)).astype(np.float64)
    allowed = 0.5 * ranges.steps.astype(np.float64) + 4 * EPSILON * largest
    assert (np.abs(back - given_vectors) <= allowed).all()


@pytest.mark.parametrize("kind", SCALAR)
def test_values_outside_are_clipped_and_never_wrap_around(kind: Quantization) -> None:
    made = quantizer(kind, np.array([[-1, 0], [1, 2]], np.float32))
    values = np.array([-3.4e38, -1e6, -1.001, -1, 0, 1, 1.001, 1e6, 3.4e38], np.float32)
    codes = made.quantize(np.stack([values, values + 1], axis=1))
    limits = np.iinfo(codes.dtype)
    for column in codes.T.tolist():
        assert column == sorted(column)
        assert column[:4] == [limits.min] * 4
        # Rounding decides in which of the last two buckets the upper end itself lies.
        assert column[5] >= limits.max - 1
        assert column[6:] == [limits.max] * 3
    back = made.dequantize(codes)
    np.testing.assert_array_less(np.abs(back - [[0, 1]]), 1 + 1e-6)


@pytest.mark.parametrize("kind", SCALAR)
@given(given_vectors=vectors())
def test_codes_keep_the_order_of_values(
    kind: Quantization, given_vectors: NDArray[np.float32]
) -> None:
    made = quantizer(kind, given_vectors)
    ordered = np.sort(given_vectors, axis=0)
    codes = made.quantize(ordered).astype(np.int16)
    assert all((above >= below).all() for below, above in pairwise(codes))
    assert (codes[0] == np.iinfo(kind.value).min).all()


@given(arrays.arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(1, 20)),
                     elements=st.floats(-1, 1, width=32)))  # fmt: skip
def test_ubinary_codes_are_the_signs_bit_by_bit(given_vectors: NDArray[np.float32]) -> None:
    codes = Quantizer(kind=Quantization.UBINARY).quantize(given_vectors)
    count, dim = given_vectors.shape
    assert codes.shape == (count, math.ceil(dim / 8))
    assert codes.dtype == np.uint8
    for row, code_row in zip(given_vectors, codes, strict=True):
        bits = "".join("1" if value > 0 else "0" for value in row).ljust(8 * len(code_row), "0")
        assert bits == "".join(f"{code:08b}" for code in code_row)


@pytest.mark.parametrize("kind", Quantization)
def test_inputs_are_not_changed_and_no_vector_has_no_codes(kind: Quantization) -> None:
    given_vectors = drawn(5, 12, seed=3)
    before = given_vectors.copy()
    made = quantizer(kind, given_vectors)
    made.quantize(given_vectors)
    np.testing.assert_array_equal(given_vectors, before)
    empty = made.quantize(given_vectors[:0])
    assert empty.shape == (0, 2 if kind is Quantization.UBINARY else 12)


@given(vectors(), st.integers(1, 3))
def test_blocks_give_the_ranges_of_the_whole(given_vectors: NDArray[np.float32], size: int) -> None:
    whole = VectorRanges.of(given_vectors, recipe=RECIPE)
    cuts = [given_vectors[at : at + size] for at in range(0, len(given_vectors), size)]
    parts = VectorRanges.of_blocks([cuts[0][:0], *cuts], recipe=RECIPE)
    np.testing.assert_array_equal(parts.low, given_vectors.min(axis=0))
    np.testing.assert_array_equal(parts.high, given_vectors.max(axis=0))
    assert (parts.texts, parts.digest) == (whole.texts, whole.digest)
    assert (whole.texts, whole.digest) == (len(given_vectors), RECIPE.digest())


@pytest.mark.parametrize(
    ("given_vectors", "message"),
    [
        (np.zeros((0, 3), np.float32), "at least two vectors, got 0"),
        (np.ones((1, 3), np.float32), "at least two vectors, got 1"),
        (np.array([[0, 7], [1, 7]], np.float32), r"dimension 1 does not vary over 2 texts.* 7\.0"),
        (np.array([[0, 1e-42], [1, 0]], np.float32), "dimension 1 does not vary"),
        (np.array([[0, 1], [1, np.nan]], np.float32), "vector 1 holds nan in dimension 1"),
        (np.array([[0, np.inf], [1, 2]], np.float32), "vector 0 holds inf in dimension 1"),
        (np.array([[-3e38], [3e38]], np.float32), "finite"),
        (np.array([[0, 1], [1, 2]], np.float64), r"expected float32.*float64 of shape \(2, 2\)"),
        (np.array([1, 2], np.float32), r"shape \(2,\)"),
    ],
)
def test_ranges_that_cannot_be_divided_are_refused(
    given_vectors: NDArray[np.float32], message: str
) -> None:
    with pytest.raises(QuantizationError, match=message):
        VectorRanges.of(given_vectors, recipe=RECIPE)


def test_blocks_of_different_widths_are_refused() -> None:
    with pytest.raises(QuantizationError, match="2 wide and the calibration 3"):
        VectorRanges.of_blocks([drawn(2, 3, seed=0), drawn(2, 2, seed=0)], recipe=RECIPE)


def test_low_and_high_of_different_shapes_are_refused() -> None:
    low, high = np.zeros(3, np.float32), np.ones(2, np.float32)
    with pytest.raises(QuantizationError, match=r"\(3,\) and \(2,\)"):
        VectorRanges(low=low, high=high, texts=2, digest="d")


@pytest.mark.parametrize(
    ("given_vectors", "message"),
    [
        (drawn(2, 4, seed=0), "4 wide and the calibration 3"),
        (np.array([[0, 0, 0], [0, -np.inf, 0]], np.float32), "vector 1 holds -inf in dimension 1"),
        (np.zeros((1, 3), np.int8), "got int8"),
        (np.zeros(3, np.float32), r"shape \(3,\)"),
    ],
)
@pytest.mark.parametrize("kind", SCALAR)
def test_vectors_that_do_not_fit_are_refused(
    kind: Quantization, given_vectors: NDArray[np.float32], message: str
) -> None:
    with pytest.raises(QuantizationError, match=message):
        quantizer(kind, drawn(5, 3, seed=1)).quantize(given_vectors)


def test_codes_that_do_not_fit_are_refused() -> None:
    seen = drawn(5, 3, seed=1)
    with pytest.raises(QuantizationError, match=r"expected int8 codes.*got uint8"):
        quantizer("int8", seen).dequantize(np.zeros((1, 3), np.uint8))
    with pytest.raises(QuantizationError, match=r"shape \(N, 3\), got uint8 of shape \(1, 4\)"):
        quantizer("uint8", seen).dequantize(np.zeros((1, 4), np.uint8))
    with pytest.raises(QuantizationError, match="hold signs"):
        quantizer("ubinary", seen).dequantize(np.zeros((1, 1), np.uint8))


@pytest.mark.parametrize("kind", SCALAR)
def test_bytes_need_a_calibration(kind: Quantization) -> None:
    with pytest.raises(QuantizationError, match="decant calibrate-vectors"):
        Quantizer(kind=kind)


def test_an_unknown_kind_is_refused_by_name() -> None:
    assert Quantization.named("int8") is Quantization.INT8
    assert Quantization.named("binary") is Quantization.UBINARY
    with pytest.raises(
        QuantizationError, match="no quantization is called 'int4'; known are 'int8'"
    ):
        Quantization.named("int4")


def test_a_calibration_serves_only_its_recipe() -> None:
    encoder, other = HashEncoder(dim=4), HashEncoder(dim=4, max_tokens=9)
    seen = encoder.encode(["a", "b", "c d"], role=Role.PASSAGE).dense
    calibration = VectorRanges.of(seen, recipe=encoder.recipe)
    calibration.require(encoder.recipe)
    with pytest.raises(QuantizationError, match=other.recipe.digest()):
        calibration.require(other.recipe)
