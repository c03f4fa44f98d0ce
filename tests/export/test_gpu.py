"""The CUDA and TensorRT providers, on a machine that has them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.gpu.report.placement import placed
from decant.embedders import Bundle, ExecutionOptions, ParityError, Precision, Role, load
from decant.embedders.onnx import Session, installed_providers, placement, provider_name
from decant.embedders.tokens import pad
from decant.embedders.tokens.rows import Tokens
from decant.export import export, verify
from models import save_sentence_transformer

pytestmark = pytest.mark.gpu

TEXTS = [f"text number {number} " * (number % 9 + 1) for number in range(200)]


@pytest.fixture(params=["cuda", "tensorrt"])
def provider(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if provider_name(name) not in installed_providers():
        pytest.skip(f"this onnxruntime was built without {name}")
    return name


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def test_a_provider_runs_only_after_it_was_certified(bundle: Path, provider: str) -> None:
    with pytest.raises(ParityError, match="decant verify"):
        load(bundle, provider=provider)
    assert verify(bundle, provider=provider).passed
    with load(bundle, provider=provider) as encoder:
        assert encoder.provider == provider_name(provider)
        assert encoder.precision is Precision.FP32


def test_the_gpu_gives_the_vectors_of_the_cpu(bundle: Path, provider: str) -> None:
    verify(bundle, provider=provider)
    with load(bundle, provider="cpu") as cpu, load(bundle, provider=provider) as gpu:
        expected = cpu.encode(TEXTS, role=Role.PASSAGE).dense
        found = gpu.encode(TEXTS, role=Role.PASSAGE).dense
    assert found.dtype == np.float32
    assert (found * expected).sum(axis=1).min() > 0.9999


def test_auto_takes_the_gpu_and_says_so(bundle: Path) -> None:
    verify(bundle, provider="cuda")
    with load(bundle) as encoder:
        assert encoder.provider == "CUDAExecutionProvider"


def test_vectors_do_not_depend_on_workers_or_budgets(bundle: Path) -> None:
    verify(bundle, provider="cuda")
    found = []
    for runtime in (
        ExecutionOptions(workers=1, token_budget=64),
        ExecutionOptions(workers=4, token_budget=8192),
    ):
        with load(bundle, provider="cuda", runtime=runtime) as encoder:
            found.append(encoder.encode(TEXTS, role=Role.QUERY).dense)
    assert (found[0] * found[1]).sum(axis=1).min() > 0.9999


def test_outputs_are_bound_and_inputs_are_left_alone(bundle: Path) -> None:
    batch = pad([Tokens(ids=(1, 20, 2), counted=0), Tokens(ids=(1, 2), counted=0)], pad_id=0)
    before = batch.input_ids.copy()
    vectors = Session(bundle / "onnx" / "model.onnx", provider_name("cuda")).run(batch)
    assert vectors.shape == (2, 32)
    assert (batch.input_ids == before).all()


@pytest.mark.parametrize(("family", "pooling"), [("bert", "mean"), ("qwen3", "lasttoken")])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_nothing_but_shapes_runs_on_the_cpu(
    family: str, pooling: str, precision: str, provider: str, tmp_path: Path
) -> None:
    folder = save_sentence_transformer(tmp_path / "model", family, pooling=pooling)
    export(folder, tmp_path / "bundle", precisions=[] if precision == "fp32" else [precision])
    rows = [Tokens(ids=(1, *range(20, 20 + n), 2), counted=0) for n in (9, 4)]
    graph = Bundle.open(tmp_path / "bundle").graph(Precision(precision))
    found = placement(graph, provider_name(provider), pad(rows, pad_id=0))
    assert placed(found, provider_name(provider)).computing == {}
