"""Every precision: made, certified, refused where it loses too much, and equal in a crowd."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from decant.embedders import (
    Bundle,
    BundleError,
    Certificate,
    CertificateEntry,
    ParityError,
    Precision,
    Role,
    load,
)
from decant.embedders.bundle import TaskScore
from decant.embedders.json_records import to_json
from decant.export import convert, export, verify
from decant.export.quantize.weight_only import rounded_blocks
from fresh_process import modules_loaded_by
from models import save_sentence_transformer

ALL = ("fp16", "bf16", "int8", "w8", "w4")
TEXTS = ["a", "the hat", "what is in the hat " * 4, "in a hat"]


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Certificate]:
    """One bundle with every precision; w4 passes because the model's weights are redrawn."""
    folder = tmp_path_factory.mktemp("precisions")
    save_sentence_transformer(folder / "model", "qwen3", pooling="mean")
    return folder / "bundle", export(folder / "model", folder / "bundle", precisions=ALL[:-1])


def test_every_precision_but_bf16_is_certified_on_the_cpu(
    certified: tuple[Path, Certificate],
) -> None:
    path, certificate = certified
    assert certificate.passed
    assert [entry.precision for entry in certificate.entries] == ["fp32", "fp16", "int8", "w8"]
    assert set(Bundle.open(path).manifest.graphs) == {"fp32", *ALL[:-1]}


@pytest.mark.parametrize("precision", ["fp16", "int8", "w8"])
def test_a_vector_is_near_that_of_float32_and_the_same_in_a_crowd(
    certified: tuple[Path, Certificate], precision: str
) -> None:
    with (
        load(certified[0], precision="fp32") as exact,
        load(certified[0], precision=precision) as encoder,
    ):
        assert encoder.precision == precision
        expected = exact.encode(TEXTS, role=Role.QUERY).dense
        crowd = encoder.encode(TEXTS, role=Role.QUERY).dense
        alone = np.concatenate([encoder.encode([t], role=Role.QUERY).dense for t in TEXTS])
    assert (crowd * expected).sum(axis=1).min() > 0.99
    assert (crowd * alone).sum(axis=1).min() > 0.99999


def test_auto_takes_the_fastest_that_loses_little(certified: tuple[Path, Certificate]) -> None:
    entry = certified[1].entries[2]
    assert entry.precision is Precision.INT8
    near = entry.mean_cosine >= 0.995 and entry.top10_overlap >= 0.9
    with load(certified[0]) as encoder:
        assert encoder.precision == ("int8" if near else "fp32")


def losing(loss: float) -> TaskScore:
    return TaskScore(name="a task", value=0.8, exact=0.8 + loss)


@pytest.mark.parametrize(
    ("changed", "taken"),
    [
        (lambda entry: entry, "int8"),
        (lambda entry: replace(entry, mean_cosine=0.9949), "fp32"),
        (lambda entry: replace(entry, top10_overlap=0.89), "fp32"),
        (lambda entry: replace(entry, sha256="of another file"), "fp32"),
        (
            lambda entry: replace(entry, tasks=(TaskScore(name="t", value=0.8, exact=0.804),)),
            "int8",
        ),
        (
            lambda entry: replace(entry, tasks=(TaskScore(name="t", value=0.8, exact=0.806),)),
            "fp32",
        ),
        (lambda entry: replace(entry, provider="CUDAExecutionProvider"), "fp32"),
    ],
)
def test_auto_takes_float32_where_the_rest_loses_too_much(
    certified: tuple[Path, Certificate],
    tmp_path: Path,
    changed: Callable[[CertificateEntry], CertificateEntry],
    taken: str,
) -> None:
    bundle = Bundle.open(shutil.copytree(certified[0], tmp_path / "bundle"))
    exact, int8 = (
        entry
        for entry in certified[1].entries
        if entry.precision in (Precision.FP32, Precision.INT8)
    )
    good = replace(int8, mean_cosine=0.995, top10_overlap=0.9)
    text = to_json(replace(certified[1], entries=(exact, changed(good))))
    (bundle.folder / "certificate.json").write_text(text, encoding="utf-8")
    with load(bundle.folder, provider="cpu") as encoder:
        assert encoder.precision == taken


def test_bf16_is_refused_until_it_is_certified(certified: tuple[Path, Certificate]) -> None:
    with pytest.raises(Exception, match="CPUExecutionProvider does not open"):
        load(certified[0], precision="bf16")


def test_smaller_precisions_make_smaller_files(certified: tuple[Path, Certificate]) -> None:
    graphs = Bundle.open(certified[0]).manifest.graphs
    weights = {
        name: sum(
            onnx.numpy_helper.to_array(tensor).nbytes
            for tensor in onnx.load(certified[0] / file).graph.initializer
            if len(tensor.dims) == 2
        )
        for name, file in graphs.items()
    }
    assert weights["fp16"] == weights["bf16"] == weights["fp32"] / 2
    assert weights["int8"] < 0.30 * weights["fp32"]


def test_int8_states_have_a_scale_for_each_token(certified: tuple[Path, Certificate]) -> None:
    graph = onnx.load(certified[0] / "onnx" / "model_int8.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("MatMulIntegerToFloat") == 2 * 7
    assert "DynamicQuantizeLinear" not in kinds


@pytest.mark.slow
def test_a_bundle_is_converted_without_torch_and_keeps_what_it_had(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    before = Bundle.open(bundle).manifest
    told: list[str] = []
    certificate = convert(bundle, "int8", on_step=told.append)
    assert told[:2] == ["making the int8 graph", "certifying int8 on the CPU"]
    # Some minutes each with a large model: who reads a log sees which is under way.
    assert [step.partition(":")[0] for step in told[2:]] == [
        "probes, after one token",
        "probes, one by one",
        "probes, right padding",
        "probes, left padding",
        "probes, large batch",
        "probes, long beside short, right",
        "probes, long beside short, left",
    ]
    assert re.fullmatch(r"probes, one by one: \d+ of up to 64 tokens", told[3])
    after = Bundle.open(bundle).manifest
    assert after.digest == before.digest
    assert after.graphs == {**before.graphs, "int8": "onnx/model_int8.onnx"}
    assert after.files.items() >= before.files.items()
    assert [entry.precision for entry in certificate.entries] == ["fp32", "int8"]
    assert convert(bundle, "int8").entries[-1].precision is Precision.INT8
    assert verify(bundle, provider="cpu").passed


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int3"])
def test_a_bundle_is_not_converted_to_what_cannot_be_made_of_it(
    tiny_bundle: Path, precision: str
) -> None:
    with pytest.raises(BundleError, match=f"cannot be converted to '{precision}'"):
        convert(tiny_bundle, precision)


@pytest.mark.slow
def test_a_precision_that_loses_too_much_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path / "model", "bert")
    hide_an_outlier(folder)
    export(folder, tmp_path / "bundle")
    before = {path: path.read_bytes() for path in (tmp_path / "bundle").rglob("*.*")}
    with pytest.raises(ParityError, match="was not converted to w4: rounding to w4 loses too much"):
        convert(tmp_path / "bundle", "w4")
    assert {path: path.read_bytes() for path in (tmp_path / "bundle").rglob("*.*")} == before


@pytest.mark.slow
def test_an_export_with_a_precision_that_loses_too_much_leaves_nothing(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path / "model", "bert")
    hide_an_outlier(folder)
    with pytest.raises(
        ParityError, match=r"was not exported to .*: w4: rounding to w4 loses too much"
    ):
        export(folder, tmp_path / "bundle", precisions=["w4"])
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_what_overflows_in_float16_stays_in_float32(tmp_path: Path) -> None:
    folder = save_sentence_transformer(tmp_path / "model", "llama")
    scale_weights(folder, "layers.0.mlp.down_proj.weight", 3e5)
    told: list[str] = []
    certificate = export(folder, tmp_path / "bundle", precisions="fp16", on_step=told.append)
    (reason,) = [line for line in told if "throughout fails" in line]
    assert "keeping all but products in fp32" in reason
    assert certificate.passed
    graph = onnx.load(tmp_path / "bundle" / "onnx" / "model_fp16.onnx").graph
    types = [tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 2]
    assert types.count(onnx.TensorProto.FLOAT16) == 2 * 7 - 1 + 1  # the tokens, too
    assert types.count(onnx.TensorProto.FLOAT) == 1  # the layer that overflows


def scale_weights(folder: Path, name: str, factor: float) -> None:
    weights = load_file(folder / "model.safetensors")
    (key,) = [key for key in weights if key.endswith(name)]
    weights[key] = weights[key] * factor
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def hide_an_outlier(folder: Path) -> None:
    """Scale one channel up in the weights and down before them: the same function, hard to round.

    This is what trained models do (LLM.int8(), arXiv 2208.07339, section 4).
    """
    weights = load_file(folder / "model.safetensors")
    for key, value in weights.items():
        if key.endswith("attention.output.LayerNorm.weight"):
            value[0] /= 3000
        if key.endswith("attention.output.LayerNorm.bias"):
            value[0] = 0
        if key.endswith("intermediate.dense.weight"):
            value[:, 0] *= 3000
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([4, 8]),
    st.integers(1, 40),
    st.sampled_from([16, 32]),
)
def test_rounded_blocks_are_within_half_a_step_of_the_weights(
    seed: int, bits: int, inputs: int, block: int
) -> None:
    drawn = np.random.default_rng(seed).standard_normal((inputs, 3)).astype(np.float32)
    integers, scales = rounded_blocks(drawn, bits=bits, block=block)
    zero = 2 ** (bits - 1)
    for row in range(inputs):
        for column in range(3):
            scale = scales[column, row // block]
            found = (float(integers[column, row // block, row % block]) - zero) * scale
            # The largest value of the other sign is cut to the integer that there is.
            step = abs(scale) * (1.0 if abs(drawn[row, column]) > abs(scale) * (zero - 1) else 0.5)
            assert abs(found - drawn[row, column]) <= step * 1.001


def test_converting_needs_no_torch_and_leaves_logging_alone() -> None:
    code = "import logging, decant.export\ndecant.export.convert\nassert not logging.root.handlers"
    loaded = modules_loaded_by(code)
    assert "onnx_ir" in loaded
    assert not {"torch", "transformers"} & loaded
