"""Precisions on WebGPU: each certified on a Vulkan device in software, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from decant.embedders import Bundle, Choices, ParityError, Pooling, Precision, ProviderError, load
from decant.embedders.onnx import placement
from decant.embedders.tokens import pad
from decant.export import export, verify
from webgpu_bundles import CPU, INTEGERS, WEBGPU, Bundles, entry, rows, save_on_a_grid

pytestmark = pytest.mark.webgpu

ROUNDED = (Precision.W8, Precision.W4)


@pytest.fixture(scope="module")
def rounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of w8 and w4 whose layers are wide enough for every kernel of a product."""
    folder = tmp_path_factory.mktemp("rounded")
    model = save_on_a_grid(folder / "model")
    choices = Choices(pooling=Pooling.MEAN)
    export(model, folder / "bundle", choices=choices, precisions=ROUNDED)
    verify(folder / "bundle", provider="webgpu")
    return folder / "bundle"


@pytest.mark.parametrize("precision", ROUNDED)
def test_weights_in_blocks_of_integers_are_certified(rounded: Path, precision: Precision) -> None:
    found = entry(rounded, precision)
    assert found.passed, found.failures
    assert found.batch_invariance > 0.99999
    graph = Bundle.open(rounded).graph(precision)
    ran = placement(graph, WEBGPU.full_name, pad(rows(9, 4), pad_id=0))
    assert "MatMulNBits" in ran[WEBGPU.full_name]
    assert set(ran[CPU]) <= INTEGERS
    with load(rounded, provider="webgpu", precision=precision) as encoder:
        assert encoder.precision is precision


def test_int8_is_refused_for_its_products_would_run_on_the_cpu(
    bundles: Bundles, tmp_path: Path
) -> None:
    export(bundles.model("bert"), tmp_path / "bundle", precisions=["int8"])
    graph = Bundle.open(tmp_path / "bundle").graph(Precision.INT8)
    ran = placement(graph, WEBGPU.full_name, pad(rows(9, 4), pad_id=0))
    assert {"MatMulIntegerToFloat", "MatMulInteger"} & set(ran[CPU])
    reason = "does not run int8: it has no product of integers"
    with pytest.raises(ProviderError, match=reason):
        load(tmp_path / "bundle", provider="webgpu", precision="int8")
    with pytest.raises(ProviderError, match=reason):
        verify(tmp_path / "bundle", provider="webgpu", precision="int8")


def test_bf16_is_refused_for_the_device_has_no_such_type(bundles: Bundles, tmp_path: Path) -> None:
    export(bundles.model("bert"), tmp_path / "bundle", precisions=["bf16"])
    graph = Bundle.open(tmp_path / "bundle").graph(Precision.BF16)
    with pytest.raises(ProviderError, match="does not open"):
        placement(graph, WEBGPU.full_name, pad(rows(9, 4), pad_id=0))
    with pytest.raises(ProviderError, match="does not run bf16: WebGPU has no bfloat16"):
        verify(tmp_path / "bundle", provider="webgpu", precision="bf16")


def test_a_device_without_float16_refuses_fp16_by_name_and_keeps_what_was_certified(
    bundles: Bundles, tmp_path: Path
) -> None:
    export(bundles.model("bert"), tmp_path / "bundle", precisions=["fp16"])
    with pytest.raises(ProviderError, match="requires f16 but the device does not support it"):
        verify(tmp_path / "bundle", provider="webgpu")
    with load(tmp_path / "bundle", provider="webgpu") as encoder:
        assert encoder.precision is Precision.FP32
    with pytest.raises(ParityError, match="decant verify"):
        load(tmp_path / "bundle", provider="webgpu", precision="fp16")
