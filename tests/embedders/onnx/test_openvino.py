"""OpenVINO behind the same encoder: float32, bf16 with its certificate, or an error by name."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from decant.embedders import (
    Bundle,
    CertificateEntry,
    ExecutionOptions,
    OnnxEncoder,
    ParityError,
    Precision,
    ProviderError,
    Role,
    load,
    tune,
)
from decant.embedders.doctor import Health, diagnose
from decant.embedders.onnx import (
    GraphFile,
    Session,
    Tuned,
    Tuning,
    find_provider,
    open_session,
    speed_bench,
    unsupported,
)
from decant.embedders.onnx.openvino import session as openvino_session
from decant.embedders.onnx.providers import machine
from decant.embedders.tokens import TokenBatch, pad
from decant.embedders.tokens.rows import Tokens
from decant.export import verify

CPU, OPENVINO = "CPUExecutionProvider", "OpenVINO"
TEXTS = [f"text number {number} " * (number % 9 + 1) for number in range(60)]
FEATURES = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
HAS_BF16 = any(name in FEATURES for name in ("avx512_bf16", "amx_bf16"))

installed = pytest.mark.skipif(
    find_spec("openvino") is None, reason="no openvino here; pip install 'decant-qdrant[openvino]'"
)
in_bf16 = pytest.mark.skipif(
    not HAS_BF16, reason="this processor shows neither avx512_bf16 nor amx_bf16"
)


def cosines(found: NDArray[np.float32], expected: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    result: NDArray[np.float32] = (found * expected).sum(axis=1) / lengths
    return result


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle that was certified on OpenVINO in all that this processor runs."""
    folder = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("openvino") / "bundle")
    verify(folder, provider="openvino")
    return Path(folder)


@pytest.fixture(scope="module")
def on_the_cpu(bundle: Path) -> Iterator[OnnxEncoder]:
    with load(bundle, provider="cpu", precision="fp32") as encoder:
        yield encoder


@installed
def test_float32_gives_the_vectors_of_onnx_runtime(bundle: Path, on_the_cpu: OnnxEncoder) -> None:
    expected = on_the_cpu.encode(TEXTS, role=Role.PASSAGE).dense
    with load(bundle, provider="openvino", precision="fp32") as encoder:
        found = encoder.encode(TEXTS, role=Role.PASSAGE).dense
        alone = np.concatenate([encoder.encode([t], role=Role.PASSAGE).dense for t in TEXTS[:9]])
        assert encoder.provider == OPENVINO
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4
    assert cosines(found, expected).min() > 0.99999
    assert cosines(alone, expected[:9]).min() > 0.99999


@installed
@in_bf16
def test_bf16_runs_the_float32_file_and_is_what_auto_takes(
    bundle: Path, on_the_cpu: OnnxEncoder
) -> None:
    expected = on_the_cpu.encode(TEXTS, role=Role.PASSAGE).dense
    with load(bundle, provider="openvino") as encoder:
        found = encoder.encode(TEXTS, role=Role.PASSAGE).dense
        assert encoder.precision is Precision.BF16
    assert np.abs(found - expected).max() > 1e-5  # it did round
    assert cosines(found, expected).min() > 0.999
    opened = Bundle.open(bundle)
    assert list(opened.manifest.graphs) == ["fp32"]
    entry = opened.entry(Precision.BF16, OPENVINO, graph=Precision.FP32)
    assert isinstance(entry, CertificateEntry)
    assert (entry.file, entry.passed) == (opened.manifest.graphs["fp32"], True)
    assert entry.batch_invariance > 0.999


@installed
def test_all_certifies_every_provider_that_auto_may_take(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    found = {(one.provider, one.precision) for one in verify(folder, provider="all").entries}
    assert found >= {(CPU, Precision.FP32), (OPENVINO, Precision.FP32)}
    assert ((OPENVINO, Precision.BF16) in found) is HAS_BF16
    with load(folder) as encoder:
        assert encoder.provider == (OPENVINO if HAS_BF16 else CPU)
        assert encoder.precision is (Precision.BF16 if HAS_BF16 else Precision.FP32)


@installed
@in_bf16
def test_a_certificate_of_bf16_is_none_of_float32(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    verify(folder, provider="openvino", precision="bf16")
    load(folder, provider="openvino", precision="bf16").close()
    with pytest.raises(ParityError, match=r"fp32 graph .* is certified on OpenVINO as bf16"):
        load(folder, provider="openvino", precision="fp32")


@installed
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=in_bf16)])
def test_a_vector_does_not_depend_on_workers_batches_or_neighbours(
    bundle: Path, precision: str
) -> None:
    found = []
    for runtime in (
        ExecutionOptions(workers=1, threads=1, token_budget=40),
        ExecutionOptions(workers=3, threads=1, token_budget=512),
        ExecutionOptions(workers=1, threads=2, token_budget=2048),
    ):
        with load(bundle, provider="openvino", precision=precision, runtime=runtime) as encoder:
            found.append(encoder.encode(TEXTS, role=Role.QUERY).dense)
    gate = 0.99999 if precision == "fp32" else 0.999
    assert min(cosines(other, found[0]).min() for other in found[1:]) > gate


def batch_of(*lengths: int) -> TokenBatch:
    drawn = np.random.default_rng(sum(lengths))
    rows = [Tokens(ids=tuple(drawn.integers(7, 250, n).tolist()), counted=0) for n in lengths]
    return pad(rows, pad_id=0)


@installed
@pytest.mark.parametrize("precision", [Precision.FP32, pytest.param(Precision.BF16, marks=in_bf16)])
def test_a_batch_does_not_change_those_after_it(bundle: Path, precision: Precision) -> None:
    # OpenVINO's single operator for attention fails this: 64 tokens after one get another vector.
    graph = Bundle.open(bundle).graph(Precision.FP32)
    session = open_session(GraphFile(path=graph, precision=precision), OPENVINO, threads=1)
    exact = Session(graph, CPU, threads=1)
    for lengths in ([1], [64], [1, 1], [33], [2], [64, 64], [1, 64], [7], [64]):
        batch = batch_of(*lengths)
        found = session.run(batch)
        assert cosines(found, exact.run(batch)).min() > 0.999, lengths


@installed
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=in_bf16)])
def test_the_certificate_catches_attention_whose_results_depend_on_the_batch_before(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    monkeypatch.setattr(openvino_session, "always_read_the_mask", lambda _: 0)
    monkeypatch.setattr(openvino_session, "SINGLE_OPERATOR_ATTENTION", "none is refused")
    certificate = verify(folder, provider="openvino", precision=precision)
    (entry,) = (one for one in certificate.entries if one.provider == OPENVINO)
    assert not entry.passed
    assert not next(check for check in entry.checks if check.name == "after one token").passed


@installed
def test_two_encoders_of_a_process_work_at_the_same_time(
    bundle: Path, on_the_cpu: OnnxEncoder
) -> None:
    expected = on_the_cpu.encode(TEXTS, role=Role.PASSAGE).dense
    runtime = ExecutionOptions(workers=2, threads=1)
    first, second = (
        load(bundle, provider="openvino", precision="fp32", runtime=runtime) for _ in range(2)
    )
    with first, second, ThreadPoolExecutor(4) as pool:
        turns = [first, second] * 3
        found = pool.map(lambda one: one.encode(TEXTS, role=Role.PASSAGE).dense, turns)
        assert all(np.abs(vectors - expected).max() < 1e-4 for vectors in found)


@installed
def test_threads_and_streams_are_those_of_the_settings_and_bound_to_no_core(bundle: Path) -> None:
    graph = GraphFile(path=Bundle.open(bundle).graph(Precision.FP32), precision=Precision.FP32)
    session = open_session(graph, OPENVINO, threads=1).twin(threads=1, workers=2)
    compiled = session._running()  # type: ignore[attr-defined]  # OpenVINO's own account of it
    shown = {
        name: compiled.get_property(name)
        for name in ("NUM_STREAMS", "INFERENCE_NUM_THREADS", "ENABLE_CPU_PINNING")
    }
    assert shown == {
        "NUM_STREAMS": 2,
        "INFERENCE_NUM_THREADS": 2,
        "ENABLE_CPU_PINNING": False,
    }


@installed
def test_a_pickled_encoder_opens_the_same_precision_again(bundle: Path) -> None:
    with load(bundle, provider="openvino") as encoder:
        expected = encoder.encode(TEXTS[:3], role=Role.QUERY).dense
        kept = pickle.dumps(encoder)
    with pickle.loads(kept) as again:
        assert (again.provider, again.precision) == (OPENVINO, encoder.precision)
        assert np.abs(again.encode(TEXTS[:3], role=Role.QUERY).dense - expected).max() < 1e-6


@installed
@pytest.mark.skipif(sys.platform == "win32", reason="this system has no fork")
def test_a_forked_child_encodes_as_its_parent_did_and_ends(bundle: Path) -> None:
    script = """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import numpy as np
        from decant.embedders import Role, load
        encoder = load(sys.argv[1], provider="openvino", precision="fp32")
        texts = [f"what wind number {number} wants" for number in range(200)]
        dense = lambda count: encoder.encode(texts[:count], role=Role.PASSAGE).dense
        one, many = dense(1), dense(200)
        child = os.fork()
        if child == 0:
            print(np.abs(dense(1) - one).max() < 1e-6, np.abs(dense(200) - many).max() < 1e-6)
            sys.exit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(bundle)],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["True True", "5"]


@pytest.fixture
def without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    features = frozenset({"avx2", "avx512f", "avx512_vnni"})
    monkeypatch.setattr(machine, "processor_features", lambda: features)


@pytest.mark.usefixtures("without_bf16")
def test_a_processor_without_the_instructions_is_named() -> None:
    reason = unsupported(find_provider("openvino"), Precision.BF16)
    assert "emulate bf16" in reason
    assert "amx_bf16, avx512_bf16" in reason
    assert unsupported(find_provider("openvino"), Precision.FP32) == ""
    assert unsupported(find_provider("cuda"), Precision.BF16) == ""


@installed
@in_bf16
def test_without_the_instructions_bf16_is_refused_and_auto_takes_float32(
    bundle: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("without_bf16")  # the bundle's certificate is of another processor
    with pytest.raises(ProviderError, match="would emulate bf16"):
        load(bundle, provider="openvino", precision="bf16")
    with load(bundle, provider="openvino") as encoder:
        assert encoder.precision is Precision.FP32
    before = {(one.precision, one.date) for one in Bundle.open(bundle).certificate().entries}
    again = verify(shutil.copytree(bundle, bundle.parent / "older"), provider="openvino")
    after = {(one.precision, one.date) for one in again.entries if one.provider == OPENVINO}
    kept = {one for one in before if one[0] is Precision.BF16}
    assert kept <= after  # not certified anew here


def graph_file(path: Path, nodes: list[onnx.NodeProto], **tables: NDArray[np.float32]) -> GraphFile:
    """Write a graph that makes sentence_embedding of the ids, and return it."""
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["B", "T"])
    found = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(table, name) for name, table in tables.items()]
    graph = helper.make_graph(nodes, "graph", [ids], [found], weights)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return GraphFile(path=path, precision=Precision.FP32)


@installed
def test_an_operator_that_it_does_not_read_is_named(tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["input_ids"], ["floats"], to=TensorProto.FLOAT)
    strange = helper.make_node(
        "Unheard", ["floats"], ["sentence_embedding"], domain="com.microsoft"
    )
    graph = graph_file(tmp_path / "graph.onnx", [cast, strange])
    with pytest.raises(ProviderError, match=r"does not read com\.microsoft\.Unheard"):
        open_session(graph, OPENVINO, threads=1)


@installed
def test_rotary_positions_are_those_of_onnx_runtime(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    width, rows = 32, 64  # four heads of eight
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["states"]),
        helper.make_node(
            "RotaryEmbedding",
            ["states", "input_ids", "cosines", "sines"],
            ["sentence_embedding"],
            num_heads=4,
            domain="com.microsoft",
        ),
    ]
    graph = graph_file(
        tmp_path / "graph.onnx",
        nodes,
        words=drawn.normal(size=(rows, width)).astype(np.float32),
        cosines=drawn.normal(size=(rows, 4)).astype(np.float32),
        sines=drawn.normal(size=(rows, 4)).astype(np.float32),
    )
    ids = drawn.integers(0, rows, (3, 9))
    batch = TokenBatch(input_ids=ids, attention_mask=ids, pooling_mask=ids)
    found = open_session(graph, OPENVINO, threads=1).run(batch)
    assert found.shape == (3, 9, width)
    assert np.abs(found - Session(graph.path, CPU).run(batch)).max() < 1e-5


@installed
def test_doctor_says_that_it_runs_and_in_which_precisions(bundle: Path) -> None:
    found = {one.name: one for one in diagnose(bundle).findings}
    assert found[OPENVINO].health is Health.GOOD
    assert "runs all" in found[f"fp32 on {OPENVINO}"].detail
    bf16 = found[f"bf16 on {OPENVINO}"]
    assert ("runs all" in bf16.detail) is HAS_BF16 or "emulate" in bf16.detail
    assert found["OpenVINO-GPU"].health is not Health.PROBLEM


@installed
def test_tuning_keeps_settings_for_openvino_that_load_takes(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    monkeypatch.setattr(speed_bench, "_TRIAL_SECONDS", 0.0)
    report = tune(folder, provider="openvino", texts=TEXTS)
    assert not [trial.failure for trial in report.trials if trial.failure]
    with load(folder, provider="openvino") as encoder:
        assert encoder.precision is report.precision
        assert encoder.runtime == report.kept.settled()


def test_tuned_settings_of_a_graph_are_kept_apart_by_the_precision_in_which_it_ran() -> None:
    single = Tuned(
        sha256="a", provider=OPENVINO, machine="m", workers=2, threads=1, token_budget=512,
        tokens_per_second=1.0, over_default=1.0, workload="w", date="d",
    )  # fmt: skip
    rounded = replace(single, precision=Precision.BF16, workers=1)
    both = Tuning().with_entry(single).with_entry(rounded).with_entry(rounded)
    assert both.entries == (single, rounded)
    assert both.entry("a", OPENVINO, "m", precision=Precision.BF16) is rounded
    assert both.entry("a", OPENVINO, "m") is single
