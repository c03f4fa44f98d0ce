"""The GPU benchmark: device, options, and all of it once on the CPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import gpu
from bench.gpu.chip import matrix_peak, memory_in_use, torch_device
from bench.gpu.matches import MIXED
from bench.gpu.packed import Way
from bench.gpu.shapes import SHAPES, Family
from bench.options import conduct
from bench.report import Result
from decant.embedders import (
    Precision,
    ProviderError,
)
from tiny_shapes import TINY

CPU = "CPUExecutionProvider"


def test_the_peak_and_the_memory_of_the_cpu_are_positive() -> None:
    cpu = torch_device(CPU)
    assert matrix_peak(cpu, torch.float32, size=64, runs=3) > 0
    before = memory_in_use(cpu)
    held = np.ones(40_000_000)  # 320 MB; what other tests held may be given back meanwhile
    assert memory_in_use(cpu) - before > 0.5 * held.nbytes


def test_torch_without_a_gpu_is_told_before_anything_is_made() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ProviderError, match="sees no NVIDIA GPU"):
        torch_device("CUDAExecutionProvider")
    with pytest.raises(ProviderError, match="no device for DmlExecutionProvider"):
        torch_device("DmlExecutionProvider")


def test_defaults_follow_the_provider() -> None:
    there, here = gpu.parse([]), gpu.parse(["--provider", "cpu"])
    assert there.models == ("minilm", "bert-base", "qwen3-0.6b", "qwen3-4b", "qwen3-8b")
    assert there.lengths == ("32", "128", "512", MIXED)
    assert (there.precisions, there.dtypes) == ((Precision.BF16, Precision.FP16), ("bfloat16",))
    assert (here.precisions, here.dtypes) == ((Precision.FP32,), ("float32", "bfloat16"))
    assert (there.size, here.size) == (8192, 1024)
    assert gpu.request("minilm", there).precisions == (*there.precisions, Precision.FP32)
    assert gpu.request("qwen3-8b", there).precisions == there.precisions


def test_lists_are_read_with_commas_each_value_once() -> None:
    found = gpu.parse(
        ["--models", "minilm,qwen3-8b,minilm", "--lengths", "32,mixed", "--precisions", "bf16",
         "--peers", "sdpa,varlen", "--runtime", "2x1x65536", "--layers", "6", "--keep", "there"]
    )  # fmt: skip
    assert found.models == ("minilm", "qwen3-8b")
    assert found.lengths == ("32", MIXED)
    assert found.precisions == (Precision.BF16,)
    assert found.ways == (Way.SDPA, Way.VARLEN)
    assert found.runtimes[0].token_budget == 65_536
    assert (found.layers, found.keep) == (6, Path("there"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--models", "bert-large"],
        ["--lengths", "0"],
        ["--lengths", "513"],
        ["--lengths", "long"],
        ["--precisions", "int8"],
        ["--dtypes", "int4"],
        ["--peers", "lazy"],
        ["--batches", "-1"],
        ["--runtime", "2x1"],
        ["--provider", "npu"],
    ],
)
def test_a_value_that_is_not_known_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        gpu.parse(arguments)
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.slow
def test_all_of_it_runs_on_the_cpu_and_keeps_what_it_made(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setitem(SHAPES, "qwen3-tiny", TINY[Family.QWEN3])
    arguments = [
        "--provider", "cpu", "--models", "minilm,qwen3-tiny", "--lengths", "16,mixed",
        "--tokens", "300", "--rounds", "2", "--batches", "2", "--queries", "3",
        "--model", str(tiny_model), "--data", str(tiny_data), "--keep", str(tmp_path / "kept"),
        "--peak-size", "64", "--runtime", "1x1x64",
        "--output", str(tmp_path / "gpu.json"),
    ]  # fmt: skip
    options = gpu.parse(arguments)
    conduct(options.common.output, lambda work, on_step: gpu.measure(options, work, on_step))
    shown = capsys.readouterr().out
    for words in ("q shape, 2 of 3 layers, mixed lengths", "of peak", "from texts", "1x1x64",
                  "1.000000 passed", "torch bfloat16 rows"):  # fmt: skip
        assert words in shown
    held = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert [found["title"] for found in held["sections"]][:2] == [
        "MiniLM, 16 tokens", "MiniLM, mixed lengths",
    ]  # fmt: skip
    assert all(row["compute"]["share"] > 0 for found in held["sections"] for row in found["rows"])
    again: list[str] = []
    kept = gpu.parse([*arguments, "--prepare"])
    result = gpu.measure(kept, tmp_path / "work", again.append)
    assert isinstance(result, Result)
    assert result.sections == ()
    assert not [step for step in again if "tracing" in step or "certifying" in step]
    shutil.rmtree(tmp_path / "kept")
