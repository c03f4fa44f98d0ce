"""The table of providers, sessions that read it, and plugins of ONNX Runtime."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import onnx
import pytest
from onnx import helper

from decant.embedders import Precision, ProviderError
from decant.embedders.onnx import (
    PROVIDERS,
    GraphFile,
    Provider,
    Session,
    find_provider,
    installed_providers,
    open_session,
    session,
)
from decant.embedders.onnx.providers import plugins
from decant.embedders.onnx.providers.plugins import installed_plugins
from repository import ROOT

CPU = "CPUExecutionProvider"
GRAPH = Path("bundle") / "onnx" / "model.onnx"
WEBGPU = find_provider("webgpu")


@pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row.name)
def test_every_row_is_found_by_both_names_and_says_how_to_install_it(row: Provider) -> None:
    assert find_provider(row.name) is find_provider(row.full_name.upper()) is row
    assert row.advice
    assert row.certified_by
    assert row.session_options(GRAPH, 0)[-1][0] == CPU


@pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row.name)
def test_what_certified_a_row_is_there_or_the_reason_why_nothing_did(row: Provider) -> None:
    said = row.certified_by
    targets = re.findall(r"`make ([a-z-]+)`", said)
    files = [ROOT / name for name in re.findall(r"`(tests/\S+)`", said)]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in targets:
        assert re.search(
            rf"^{target}:.*\n.*\n.*pytest (?:tests/\S+ )?-m (\w+)", makefile, re.MULTILINE
        )
        mark = f"pytest.mark.{target.removeprefix('test-')}"
        every = (ROOT / "tests").rglob("test_*.py")
        files += [file for file in every if mark in file.read_text("utf-8")]
    if files:
        texts = [file.read_text("utf-8") for file in files]
        assert any(
            f'"{row.name}"' in text and re.search(r"verify\(|certificate\(", text) for text in texts
        ), f"none of {files} certifies a graph on {row.name}"
    else:
        assert re.fullmatch(r"nothing: [a-z].{15,}", said)


def test_the_documentation_lists_every_row() -> None:
    page = (ROOT / "docs" / "gpu.md").read_text("utf-8")
    for row in PROVIDERS:
        assert f"| `{row.name}` | `{row.full_name}` | {row.certified_by} |" in page
    tried = [row.name for row in PROVIDERS if row.is_automatic]
    order = f"tries {', '.join(tried[:-1])} and {tried[-1]}, in this order"
    assert order in " ".join(page.split())


def test_what_tensorrt_leaves_runs_on_cuda_and_only_then_on_the_cpu() -> None:
    cuda, tensorrt = find_provider("cuda"), find_provider("tensorrt")
    names = [name for name, _ in tensorrt.session_options(GRAPH, 3)]
    assert names == [tensorrt.full_name, cuda.full_name, CPU]
    options = dict(tensorrt.session_options(GRAPH, 3))
    assert options[cuda.full_name]["device_id"] == options[tensorrt.full_name]["device_id"] == "3"
    cache = options[tensorrt.full_name]["trt_engine_cache_path"]
    assert cache == str(GRAPH.parent / "tensorrt")


def test_a_provider_of_a_build_of_its_own_is_taken_by_its_full_name() -> None:
    row = find_provider("XnnpackExecutionProvider")
    assert [name for name, _ in row.session_options(GRAPH, 0)] == ["XnnpackExecutionProvider", CPU]


def test_a_provider_without_a_row_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(ProviderError, match=r"no provider is called 'gpu'; known are auto, coreml"):
        find_provider("gpu")


@pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row.name)
def test_what_a_row_refuses_is_nothing_that_it_runs(row: Provider) -> None:
    assert not {precision for precision, _ in row.refused} & {*row.precisions, *row.computed}


@pytest.mark.parametrize(
    ("precision", "reason"),
    [(Precision.INT8, "it has no product of integers"), (Precision.BF16, "WebGPU has no bfloat16")],
)
def test_a_precision_that_a_provider_does_not_run_is_refused_with_the_reason(
    tmp_path: Path, precision: Precision, reason: str
) -> None:
    graph = GraphFile(path=tmp_path / "model.onnx", precision=precision)
    with pytest.raises(ProviderError, match=f"does not run {precision}: {reason}.*it runs fp16"):
        open_session(graph, WEBGPU.full_name)


def test_a_model_that_caps_its_scores_is_refused_where_the_cap_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = helper.make_node(
        "GroupQueryAttention", ["q"], ["o"], domain="com.microsoft", softcap=9.0
    )
    onnx.save(helper.make_model(helper.make_graph([node], "g", [], [])), tmp_path / "model.onnx")
    assert WEBGPU.ignores_softcap
    row = replace(find_provider("cpu"), ignores_softcap=True)
    monkeypatch.setattr(session, "find_provider", lambda _: row)
    with pytest.raises(ProviderError, match=r"\(softcap\), and onnxruntime .* leaves the cap out"):
        Session(tmp_path / "model.onnx", CPU)


def test_the_cpu_has_no_product_of_bfloat16() -> None:
    assert Precision.BF16 not in find_provider("cpu").precisions


class Devices:
    """ONNX Runtime's functions for plugins, with devices that a test says."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.registered: list[tuple[str, str]] = []

    __version__ = "1.31"

    def register_execution_provider_library(self, name: str, library: str) -> None:
        self.registered.append((name, library))

    def get_ep_devices(self) -> list[SimpleNamespace]:
        known = self.names if self.registered else ()
        return [SimpleNamespace(ep_name=name) for name in known]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a plugin's package."""
    module = ModuleType(WEBGPU.package)
    vars(module)["get_library_path"] = lambda: "/lib/webgpu.so"
    monkeypatch.setitem(sys.modules, WEBGPU.package, module)
    plugins._register.cache_clear()


class Added:
    """A session's options that record the devices which they were given."""

    def __init__(self) -> None:
        self.devices: list[str] = []

    def add_provider_for_devices(self, devices: list[SimpleNamespace], _: object) -> None:
        self.devices += [one.ep_name for one in devices]


@pytest.mark.usefixtures("package")
def test_a_plugin_is_registered_once_and_runs_on_a_device_that_is_no_virtual_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = Devices(f"{WEBGPU.full_name}.virtual", CPU, WEBGPU.full_name)
    monkeypatch.setattr(plugins, "onnxruntime", runtime)
    for _ in range(2):
        options = Added()
        plugins.add_plugin(options, WEBGPU, 0, {})
        assert options.devices == [WEBGPU.full_name]
    assert runtime.registered == [(WEBGPU.full_name, "/lib/webgpu.so")]
    with pytest.raises(ProviderError, match=r"finds 1 devices .* device 1 was asked for"):
        plugins.add_plugin(Added(), WEBGPU, 1, {})


@pytest.mark.usefixtures("package")
def test_a_plugin_that_offers_no_device_is_an_error_and_not_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugins, "onnxruntime", Devices(CPU, f"{WEBGPU.full_name}.virtual"))
    with pytest.raises(ProviderError, match="finds 0 devices here"):
        plugins.add_plugin(Added(), WEBGPU, 0, {})


@pytest.mark.usefixtures("package")
def test_a_plugin_of_another_version_is_an_error_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_name: str, _library: str) -> None:
        raise RuntimeError("The requested API version [29] is not available\nand more")

    runtime = Devices(CPU)
    monkeypatch.setattr(runtime, "register_execution_provider_library", refuse)
    monkeypatch.setattr(plugins, "onnxruntime", runtime)
    with pytest.raises(ProviderError, match=r"API version \[29\] is not available; install") as it:
        plugins.add_plugin(Added(), WEBGPU, 0, {})
    assert "onnxruntime-ep-webgpu" in str(it.value)


def test_plugins_count_as_installed_where_their_packages_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: name if name == WEBGPU.package else None
    )
    assert installed_plugins() == [WEBGPU.full_name]
    assert WEBGPU.full_name in installed_providers()


def test_a_provider_that_is_not_installed_names_the_package(tmp_path: Path) -> None:
    if WEBGPU.full_name in installed_providers():
        pytest.skip("it is installed here")
    with pytest.raises(ProviderError, match="install: pip install onnxruntime-ep-webgpu"):
        Session(tmp_path / "model.onnx", WEBGPU.full_name)
