"""Whatever fails of a provider is an error by name with what to do, and never the CPU unnoticed.

Every row of the table goes through every trouble, on doubles of the runtimes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from decant.embedders import MissingExtra, OutOfMemoryError, Precision, ProviderError
from decant.embedders.onnx import (
    PROVIDERS,
    GraphFile,
    GraphSession,
    Provider,
    open_session,
)
from decant.embedders.onnx.providers.failures import Cause, cause_of, import_runtime
from decant.embedders.onnx.providers.table import CPU, Source
from decant.embedders.tokens import TokenBatch
from runtime_double import WIDTH, Trouble, install

GRAPH = GraphFile(path=Path("bundle") / "onnx" / "model.onnx", precision=Precision.FP32)
IDS = np.ones((3, 50), np.int64)
BATCH = TokenBatch(input_ids=IDS, attention_mask=IDS, pooling_mask=IDS)
# As the runtimes write them.
ARENA = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running "
    "MatMul node. Name:'/layers.0/MatMul' Status Message: "
    "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* "
    "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) Failed to "
    "allocate memory for requested buffer of size 1572864000\n"
)
CUDA_MEMORY = (
    "[ONNXRuntimeError] : 1 : FAIL : /onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc"
    ":129\nCUDA failure 2: out of memory ; GPU=0 ; hostname=h ; expr=cudaMalloc((void**)&p, size);"
)
OPENCL_MEMORY = (
    "Exception from src/inference/src/cpp/infer_request.cpp:223:\nException from "
    "src/plugins/intel_gpu/src/runtime/ocl/ocl_engine.cpp:157:\n[GPU] Exceeded max size of memory "
    "object allocation: requested 5368709120 bytes, but max alloc size is 4294959104 bytes.\n"
)
TEXTS = {
    Cause.MEMORY: (
        ARENA,
        CUDA_MEMORY,
        OPENCL_MEMORY,
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
        "HIP failure 2: hipErrorOutOfMemory",
        "Non-zero status code. Status Message: std::bad_alloc",
        "WebGPU validation failed: VK_ERROR_OUT_OF_DEVICE_MEMORY",
        "DirectML: 8007000E Not enough memory resources are available to complete this operation.",
    ),
    Cause.LOST: (
        "WebGPU device lost (2): A valid external Instance reference no longer exists.",
        "CUDA failure 700: an illegal memory access was encountered ; GPU=0",
        "DirectML: 887A0005 The GPU device instance has been suspended.",
    ),
    Cause.DEVICE: (
        "CUDA failure 100: no CUDA-capable device is detected ; GPU=0",
        "CUDA failure 101: invalid device ordinal ; GPU=7",
        "Failed to get a WebGPU adapter: No supported adapters.",
    ),
    Cause.LIBRARY: (
        "Failed to load library libonnxruntime_providers_cuda.so: libcublasLt.so.12: cannot open",
        "LoadLibrary failed with error 126",
    ),
    Cause.VERSION: (
        "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version",
        "CUDA failure 209: no kernel image is available for execution on the device",
        "Load model failed: Unsupported model IR version: 14, max supported IR version: 11",
        "The requested API version [29] is not available, only API versions [1, 24] are",
    ),
    Cause.OTHER: ("Non-zero status code returned while running Gemm node", ""),
}

every_row = pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row.name)


def opened(row: Provider) -> GraphSession:
    return open_session(GRAPH, row.full_name, threads=1)


def remedy_names_the_cpu(error: BaseException, row: Provider) -> bool:
    """Return whether the CPU is offered where it is another provider, and only there."""
    return ("provider='cpu'" in str(error)) is (row.full_name != CPU)


@pytest.mark.parametrize(
    ("cause", "text"), [(cause, text) for cause, texts in TEXTS.items() for text in texts]
)
def test_the_text_of_a_runtime_tells_the_cause(cause: Cause, text: str) -> None:
    assert cause_of(RuntimeError(text)) is cause


@every_row
def test_without_a_trouble_the_double_runs_on_the_provider(
    row: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, row, Trouble())
    session = opened(row)
    assert session.provider == row.full_name
    assert session.run(BATCH).shape == (3, WIDTH)


@every_row
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    row: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, row, Trouble(missing=True))
    with pytest.raises((ProviderError, MissingExtra)) as caught:
        opened(row)
    assert row.advice in str(caught.value)


@pytest.mark.parametrize(
    "row", [row for row in PROVIDERS if row.source is not Source.BUILD], ids=lambda row: row.name
)
def test_a_package_whose_library_does_not_load_is_named(
    row: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = Trouble(broken=OSError("plugin.so: undefined symbol: OrtGetApiBase"))
    install(monkeypatch, row, trouble)
    with pytest.raises(ProviderError, match=r"does not (load|import)") as caught:
        opened(row)
    assert "install" in str(caught.value)
    assert row.package.replace("_", "-") in str(caught.value)


@every_row
def test_a_library_that_is_missing_when_a_graph_opens_is_named(
    row: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, row, Trouble(opening=RuntimeError(TEXTS[Cause.LIBRARY][0])))
    with pytest.raises(ProviderError, match=r"libcublasLt\.so\.12.*decant doctor") as caught:
        opened(row)
    assert row.advice in str(caught.value)
    assert remedy_names_the_cpu(caught.value, row)


@every_row
@pytest.mark.parametrize("text", TEXTS[Cause.VERSION])
def test_versions_that_do_not_fit_are_an_error_with_what_to_install(
    row: Provider, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, row, Trouble(opening=RuntimeError(text)))
    with pytest.raises(ProviderError, match="install versions that fit") as caught:
        opened(row)
    assert row.advice in str(caught.value)


@pytest.mark.parametrize(
    "row", [row for row in PROVIDERS if row.source is Source.RUNTIME], ids=lambda row: row.name
)
def test_a_runtime_that_is_too_old_is_named_with_the_version_that_is_needed(
    row: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, row, Trouble(version="2025.3.0-19807"))
    with pytest.raises(ProviderError, match=r"is 2025\.3\.0, and decant needs 2026") as caught:
        opened(row)
    assert row.advice in str(caught.value)


@every_row
def test_no_device_is_an_error_that_names_the_driver(
    row: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = RuntimeError(TEXTS[Cause.DEVICE][0])
    devices = Trouble(opening=said) if row.source is Source.BUILD else Trouble(devices=0)
    install(monkeypatch, row, devices)
    with pytest.raises(ProviderError, match=r"driver") as caught:
        opened(row)
    assert remedy_names_the_cpu(caught.value, row)


@every_row
@pytest.mark.parametrize("text", TEXTS[Cause.MEMORY])
def test_a_memory_that_is_full_at_opening_is_an_error_of_its_own(
    row: Provider, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, row, Trouble(opening=RuntimeError(text)))
    with pytest.raises(OutOfMemoryError, match="smaller precision") as caught:
        opened(row)
    assert isinstance(caught.value, ProviderError)
    assert remedy_names_the_cpu(caught.value, row)
    smaller = [str(one) for one in row.precisions if one is not Precision.FP32]
    assert ", ".join(smaller) in str(caught.value)


@every_row
@pytest.mark.parametrize("text", TEXTS[Cause.MEMORY])
def test_a_memory_that_is_full_at_a_batch_says_how_to_make_batches_smaller(
    row: Provider, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, row, Trouble(running=RuntimeError(text)))
    session = opened(row)
    with pytest.raises(OutOfMemoryError, match=r"token_budget=N\) with N below 150") as caught:
        session.run(BATCH)
    assert remedy_names_the_cpu(caught.value, row)


@every_row
@pytest.mark.parametrize("error", [MemoryError(), RuntimeError(ARENA)], ids=["python", "runtime"])
def test_a_caller_may_catch_a_full_memory_by_the_name_that_python_has_for_it(
    row: Provider, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, row, Trouble(running=error))
    session = opened(row)
    with pytest.raises(MemoryError, match=row.full_name):
        session.run(BATCH)


@every_row
@pytest.mark.parametrize("text", TEXTS[Cause.LOST])
def test_a_device_that_is_lost_wants_a_new_process(
    row: Provider, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, row, Trouble(running=RuntimeError(text)))
    session = opened(row)
    with pytest.raises(ProviderError, match=r"the device stopped.*in a new process"):
        session.run(BATCH)


@every_row
def test_any_other_error_quotes_the_runtime_and_offers_a_way_on(
    row: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "Non-zero status code returned while running Gemm node.\nand more"
    install(monkeypatch, row, Trouble(running=RuntimeError(text)))
    session = opened(row)
    with pytest.raises(ProviderError, match="running Gemm node") as caught:
        session.run(BATCH)
    assert "take another precision, or fewer tokens in a batch" in str(caught.value)
    assert not isinstance(caught.value, OutOfMemoryError)
    assert remedy_names_the_cpu(caught.value, row)


FALLING = [row for row in PROVIDERS if row.source is not Source.RUNTIME and row.full_name != CPU]


@pytest.mark.parametrize("row", FALLING, ids=lambda row: row.name)
def test_a_session_that_fell_back_without_an_error_is_refused(
    row: Provider, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, row, Trouble(silent=True))
    with pytest.raises(
        ProviderError, match=f"asked for {row.full_name}, but .* runs on {CPU}"
    ) as it:
        opened(row)
    assert row.advice in str(it.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "row", [row for row in FALLING if row.reports_nodes], ids=lambda row: row.name
)
def test_a_provider_that_is_listed_and_takes_no_node_is_refused(
    row: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, row, Trouble(idle=True))
    with pytest.raises(ProviderError, match=f"takes no node of .*3 on {CPU}"):
        opened(row)


def test_a_report_of_nodes_that_leaves_out_the_provider_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (row,) = [one for one in PROVIDERS if one.name == "webgpu"]
    assert not row.reports_nodes
    install(monkeypatch, row, Trouble(idle=True))
    assert opened(row).provider == row.full_name


def test_a_runtime_whose_own_library_is_broken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "onnxruntime_of_another_system":
                raise ImportError("libstdc++.so.6: version `GLIBCXX_3.4.32' not found")

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(ProviderError, match=r"does not import: libstdc.*--force-reinstall"):
        import_runtime("onnxruntime_of_another_system", extra="cpu")
    monkeypatch.setitem(sys.modules, "onnxruntime_of_nobody", None)
    with pytest.raises(MissingExtra, match=r"decant-qdrant\[cpu\]"):
        import_runtime("onnxruntime_of_nobody", extra="cpu")
    assert isinstance(import_runtime("math", extra="cpu"), ModuleType)
