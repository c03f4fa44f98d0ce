"""``calibration.json``: written by ``calibrate_vectors``, believed for its recipe alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import (
    Bundle,
    BundleError,
    Quantization,
    QuantizationError,
    Role,
    TextError,
    VectorRanges,
    calibrate_vectors,
    load,
)
from decant.embedders.onnx import calibrator as calibrating
from decant.embedders.onnx import read_calibrations
from models import WIDTH

TEXTS = [f"text number {number} " * (number % 7 + 1) for number in range(60)]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def embedded(bundle: Path, *, dim: int | None = None) -> NDArray[np.float32]:
    with load(bundle, provider="cpu", dim=dim, allow_any_dim=True) as encoder:
        return encoder.encode(TEXTS, role=Role.PASSAGE).dense


def test_the_bundle_keeps_the_exact_ranges_of_its_passages(bundle: Path) -> None:
    expected = embedded(bundle)
    made = calibrate_vectors(bundle, iter(TEXTS), provider="cpu")
    for low, high in ((made.low, made.high), _kept(bundle)):
        np.testing.assert_allclose(low, expected.min(axis=0), atol=1e-6)
        np.testing.assert_allclose(high, expected.max(axis=0), atol=1e-6)
    np.testing.assert_array_equal(made.low, _kept(bundle)[0])
    np.testing.assert_array_equal(made.high, _kept(bundle)[1])
    assert made.texts == len(TEXTS)
    assert made.digest == Bundle.open(bundle).manifest.digest
    assert sorted(path.name for path in bundle.glob("*calibration*")) == ["calibration.json"]
    assert not list(bundle.glob(".calibration*"))


def _kept(bundle: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    (entry,) = read_calibrations(Bundle.open(bundle)).entries
    return np.array(entry.low, np.float32), np.array(entry.high, np.float32)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_an_encoder_takes_the_ranges_of_its_bundle(bundle: Path, kind: str) -> None:
    made = calibrate_vectors(bundle, TEXTS)
    with load(bundle) as encoder:
        vectors = encoder.encode(TEXTS, role=Role.PASSAGE).dense
        found = encoder.quantizer(kind)
        handed = encoder.quantizer(kind, calibration=made)
    codes = found.quantize(vectors)
    assert codes.dtype == np.dtype(kind)
    np.testing.assert_array_equal(codes, handed.quantize(vectors))
    step = (made.high - made.low).max() / 255
    assert np.abs(found.dequantize(codes) - vectors).max() < 0.51 * step


def test_without_a_calibration_only_ubinary_is_to_be_had(bundle: Path) -> None:
    with load(bundle) as encoder:
        vectors = encoder.encode(TEXTS, role=Role.PASSAGE).dense
        assert encoder.quantizer("ubinary").quantize(vectors).shape == (len(TEXTS), WIDTH // 8)
        for kind in ("int8", "uint8"):
            with pytest.raises(
                QuantizationError, match=r"run: decant calibrate-vectors .*bundle --texts"
            ):
                encoder.quantizer(kind)
        with pytest.raises(QuantizationError, match="known are 'int8', 'uint8', 'ubinary'"):
            encoder.quantizer("int4")


def test_each_width_has_ranges_of_its_own(bundle: Path) -> None:
    calibrate_vectors(bundle, TEXTS)
    with load(bundle, dim=16, allow_any_dim=True) as short:
        with pytest.raises(
            QuantizationError, match=rf"\({WIDTH} wide\).*decant calibrate-vectors .* --dim 16"
        ):
            short.quantizer("int8")
        calibrate_vectors(bundle, TEXTS, dim=16, allow_any_dim=True)
        ranges = short.quantizer("int8").calibration
    assert ranges is not None
    np.testing.assert_allclose(ranges.high, embedded(bundle, dim=16).max(axis=0), atol=1e-6)
    with load(bundle) as whole:
        found = whole.quantizer("int8").calibration
    assert found is not None
    assert found.dim == WIDTH


def test_a_second_calibration_replaces_the_first_and_strangers_go(bundle: Path) -> None:
    calibrate_vectors(bundle, TEXTS)
    calibrate_vectors(bundle, TEXTS, dim=16, allow_any_dim=True)
    path = bundle / "calibration.json"
    data = json.loads(path.read_text("utf-8"))
    data["entries"].append({**data["entries"][0], "digest": "of another model"})
    path.write_text(json.dumps(data), encoding="utf-8")
    calibrate_vectors(bundle, TEXTS[:30])
    entries = read_calibrations(Bundle.open(bundle)).entries
    assert [(len(entry.low), entry.texts) for entry in entries] == [(16, 60), (WIDTH, 30)]


def test_ranges_of_another_recipe_are_never_taken(bundle: Path) -> None:
    made = calibrate_vectors(bundle, TEXTS)
    path = bundle / "calibration.json"
    text = path.read_text("utf-8").replace(made.digest, "0123456789abcdef")
    path.write_text(text, encoding="utf-8")
    strange = VectorRanges(low=made.low, high=made.high, texts=2, digest="0123456789abcdef")
    with load(bundle) as encoder:
        with pytest.raises(QuantizationError, match="only for 0123456789abcdef"):
            encoder.quantizer("int8")
        with pytest.raises(QuantizationError, match="calibration is of recipe 0123456789abcdef"):
            encoder.quantizer("int8", calibration=strange)
        assert encoder.quantizer("int8", calibration=made).kind is Quantization.INT8


def test_a_damaged_file_is_an_error_that_names_it(bundle: Path) -> None:
    calibrate_vectors(bundle, TEXTS)
    path = bundle / "calibration.json"
    whole = json.loads(path.read_text("utf-8"))
    (entry,) = whole["entries"]
    flat = {**entry, "low": entry["high"]}
    short = {**entry, "low": entry["low"][1:], "high": entry["high"][1:]}
    for damaged, message in [
        ("{", "not valid JSON"),
        (json.dumps({**whole, "format": 2}), "format 2.*upgrade"),
        (json.dumps({**whole, "more": 1}), "'more'"),
        (json.dumps({**whole, "entries": [flat]}), "is damaged: dimension 0 does not vary"),
        (json.dumps({**whole, "entries": [short]}), f"holds {WIDTH - 1} ranges for {WIDTH}"),
    ]:
        path.write_text(damaged, encoding="utf-8")
        with load(bundle) as encoder, pytest.raises(BundleError, match=message):
            encoder.quantizer("int8")


def test_texts_are_checked_and_nothing_is_written_where_they_fail(bundle: Path) -> None:
    with pytest.raises(QuantizationError, match="at least two vectors, got 1"):
        calibrate_vectors(bundle, ["alone"])
    with pytest.raises(QuantizationError, match="dimension 0 does not vary over 3 texts"):
        calibrate_vectors(bundle, ["again"] * 3)
    with pytest.raises(TextError, match="text 1 is empty"):
        calibrate_vectors(bundle, ["a", ""])
    with pytest.raises(TextError, match="put it in a list"):
        calibrate_vectors(bundle, "one text")
    assert not (bundle / "calibration.json").exists()


def test_no_more_texts_are_read_than_are_used(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "MOST_TEXTS", 5)
    read: list[int] = []

    def endless() -> Iterator[str]:
        for number in count():
            read.append(number)
            yield f"text {number}"

    assert calibrate_vectors(bundle, endless()).texts == 5
    assert len(read) == 5


def test_a_model_that_says_how_far_it_may_be_cut_is_calibrated_so(bundle: Path) -> None:
    path = bundle / "decant.json"
    data = json.loads(path.read_text("utf-8"))
    data["recipe"]["smallest_dim"] = 8  # no part of the digest, so a bundle may learn it later
    path.write_text(json.dumps(data), encoding="utf-8")
    made = calibrate_vectors(bundle, TEXTS, dim=8)
    recipe = replace(Bundle.open(bundle).manifest.recipe, dim=8)
    assert (made.dim, made.digest) == (8, recipe.digest())
