"""What runs on a WebGPU device, and what lies there: outputs, few shapes, and nothing elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from decant.embedders import Bundle, ExecutionOptions, OnnxEncoder, Precision, Role, load
from decant.embedders.doctor import Health, diagnose
from decant.embedders.onnx import Session
from decant.embedders.tokens import pad
from webgpu_bundles import INTEGERS, WEBGPU, Bundles, cosines, rows

pytestmark = pytest.mark.webgpu

TEXTS = [f"text number {number} " * (number % 5 + 1) for number in range(40)]


@pytest.fixture(scope="module", params=["bert", "qwen3"])
def encoder(request: pytest.FixtureRequest, bundles: Bundles) -> Iterator[OnnxEncoder]:
    with load(bundles.certified(str(request.param)), provider="webgpu") as opened:
        yield opened


@pytest.fixture
def widths(encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each batch adds its width."""
    found: list[int] = []
    run = encoder.run_batch

    def recorded(batch, names, *, alone):  # type: ignore[no-untyped-def]
        found.append(batch.input_ids.shape[1])
        return run(batch, names, alone=alone)

    monkeypatch.setattr(encoder, "run_batch", recorded)
    return found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return a list to which each copy of outputs adds where they lay, by ONNX Runtime's names."""
    found: list[list[str]] = []
    copy = onnxruntime.IOBinding.copy_outputs_to_cpu

    def recorded(binding: onnxruntime.IOBinding) -> list[object]:
        found.append([value.device_name() for value in binding.get_outputs()])
        values: list[object] = copy(binding)
        return values

    monkeypatch.setattr(onnxruntime.IOBinding, "copy_outputs_to_cpu", recorded)
    return found


def test_outputs_lie_on_the_device_and_are_read_once_a_batch(
    encoder: OnnxEncoder, widths: list[int], read: list[list[str]]
) -> None:
    encoder.encode(TEXTS[:8], role=Role.PASSAGE)
    assert widths
    assert len(read) == len(widths)
    # ONNX Runtime's Python calls the memory of any GPU "cuda".
    assert [names for names in read if names != ["cuda"]] == []


def test_what_is_bound_to_the_device_is_what_a_plain_run_returns(bundles: Bundles) -> None:
    graph = Bundle.open(bundles.certified("bert")).graph(Precision.FP32)
    batch = pad(rows(9, 4), pad_id=0)
    bound, copied = Session(graph, WEBGPU.full_name), Session(graph, WEBGPU.full_name)
    copied._row = replace(WEBGPU, binds_outputs_to="")
    np.testing.assert_array_equal(bound.run(batch), copied.run(batch))


def test_lengths_of_one_bucket_run_in_one_shape_and_of_two_in_two(
    encoder: OnnxEncoder, widths: list[int]
) -> None:
    texts = ["a" * count for count in range(1, 33)]
    tokens = encoder.text_tokenizer(texts, role=Role.PASSAGE)
    of_length = {row.width: text for row, text in zip(tokens, texts, strict=True)}
    encoder.encode([of_length[length] for length in (17, 20, 24)], role=Role.PASSAGE)
    encoder.encode([of_length[17]], role=Role.PASSAGE)
    assert {*widths} == {24}
    encoder.encode([of_length[25]], role=Role.PASSAGE)
    assert {*widths} == {24, 32}


def test_batches_have_few_widths_and_vectors_do_not_depend_on_them(
    encoder: OnnxEncoder, widths: list[int]
) -> None:
    assert encoder.precision is Precision.FP32
    found = encoder.encode(TEXTS, role=Role.PASSAGE).dense
    lengths = {row.width for row in encoder.text_tokenizer(TEXTS, role=Role.PASSAGE)}
    assert len({*widths}) < len(lengths)
    folder = encoder.bundle.folder
    with load(folder, provider="cpu", precision="fp32") as cpu:
        expected = cpu.encode(TEXTS, role=Role.PASSAGE).dense
    assert cosines(found, expected).min() > 0.99999
    small = ExecutionOptions(workers=2, token_budget=64)
    with load(folder, provider="webgpu", runtime=small) as other:
        assert cosines(other.encode(TEXTS, role=Role.PASSAGE).dense, found).min() > 0.99999


def test_doctor_names_what_was_left_to_the_cpu_and_that_is_integers_alone(bundles: Bundles) -> None:
    found = diagnose(bundles.certified("bert")).findings
    (nodes,) = [one for one in found if one.name == f"fp32 on {WEBGPU.full_name}"]
    assert nodes.health is Health.NOTE
    left = nodes.detail.partition("fell back to the CPU: ")[2].split(", ")
    assert {item.partition(" ×")[0] for item in left} <= INTEGERS
