"""How OpenVINO is imported: by version, without telemetry, and safe for several threads."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from decant.embedders import MissingExtra, ProviderError, load

installed = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)


def run(script: str, *arguments: str) -> str:
    """Run a script in a process of its own, which is ended if it hangs."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout


@installed
def test_the_first_runs_of_several_threads_end() -> None:
    """Before, most waited for each other for ever, where a table of OpenVINO was filled twice."""
    script = """
        import sys
        from threading import Barrier, Thread

        from decant.embedders import ExecutionOptions, Precision
        from decant.embedders.onnx.gemm_libraries import OpenVinoGemm
        from decant.embedders.onnx.node_profile import Product

        four = ExecutionOptions(workers=4, threads=1, token_budget=8).settled("OpenVINO")
        calls = OpenVinoGemm().calls(Product(k=16, n=24, count=1), Precision.FP32, four)
        barrier, ended = Barrier(4), []

        def run(call):
            barrier.wait()
            call()
            ended.append(call)

        sys.setswitchinterval(1e-6)
        threads = [Thread(target=run, args=[call], daemon=True) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(len(ended))
    """
    assert [run(script) for _ in range(3)] == ["4\n"] * 3


@installed
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="LD_DEBUG is glibc's")
def test_a_graph_on_the_cpu_loads_no_plugin_of_a_gpu(tiny_bundle: Path) -> None:
    """Where their driver is missing, loading fails, and the next thread may end the process."""
    script = """
        import sys
        from pathlib import Path

        from decant.embedders import Precision
        from decant.embedders.onnx.openvino.session import OpenVinoSession
        from decant.embedders.onnx.providers.graph_session import GraphFile

        graph = GraphFile(path=Path(sys.argv[1]), precision=Precision.FP32)
        OpenVinoSession(graph, "OpenVINO", threads=1)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), tiny_bundle / "onnx" / "model.onnx"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "LD_DEBUG": "files"},  # glibc then names each library that it loads
    )
    loaded = set(re.findall(r"openvino_intel_\w+_plugin", done.stderr))
    assert loaded == {"openvino_intel_cpu_plugin"}


@installed
def test_its_import_reports_nothing_and_forks_nothing() -> None:
    script = """
        import os
        import sys
        import threading

        def forks():
            raise AssertionError("importing OpenVINO forks this process")

        os.fork = forks
        from decant.embedders.onnx.openvino.package import openvino_package

        openvino_package()
        print([name for name in sys.modules if name.startswith("openvino_telemetry")])
        print([thread.name for thread in threading.enumerate()])
    """
    assert run(script).splitlines() == ["[]", "['MainThread']"]


def test_a_package_that_is_missing_is_an_error_with_what_to_install(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"pip install 'decant-qdrant\[openvino\]'"):
        load(tiny_bundle, provider="openvino")


def stand_in(version: str, *devices: str) -> ModuleType:
    """Return a module in place of OpenVINO that finds some devices."""
    module = ModuleType("openvino")

    def name_of(device: str, _property: str) -> str:
        if device not in devices:
            raise RuntimeError(f"Device with {device} name is not registered")
        return device

    core = SimpleNamespace(
        available_devices=list(devices), add_extension=list, get_property=name_of
    )
    floats = SimpleNamespace(f32=SimpleNamespace(to_dtype=lambda: None))
    vars(module).update(__version__=version, Core=lambda: core, Type=floats)
    return module


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (stand_in("2025.3.0-19807", "CPU"), r"openvino is 2025\.3\.0, and decant needs 2026"),
        (stand_in("2026.4.1-22982"), "finds no device CPU here, only none"),
        (ModuleType("openvino"), "installed and does not import"),
    ],
)
def test_a_package_that_cannot_run_is_an_error_by_name(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, expected: str
) -> None:
    onnx = ModuleType("openvino.frontend.onnx")
    vars(onnx).update(ConversionExtension=lambda *parts: parts)
    frontend = ModuleType("openvino.frontend")
    for one in (module, frontend, onnx):
        monkeypatch.setitem(sys.modules, one.__name__, one)
    with pytest.raises(ProviderError, match=expected):
        load(tiny_bundle, provider="openvino")
