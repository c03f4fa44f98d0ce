"""ONNX Runtime, a plugin of it, and OpenVINO, all with a trouble that a test says.

Only what sessions call is here. A graph that runs gives zeros: no test asks for their values.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from decant.embedders.onnx import Provider, session
from decant.embedders.onnx.providers import plugins
from decant.embedders.onnx.providers.table import CPU, Source

WIDTH = 4


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What is wrong with a provider.

    Args:
        missing: Whether its package is not installed.
        broken: What its package raises when it is imported or, a plugin's, registered.
        opening: What opening a graph raises.
        running: What running a batch raises.
        silent: Whether the session is another provider's, without an error.
        idle: Whether the session has the provider, and all nodes are another's.
        devices: How many devices it finds.
        version: Of OpenVINO.
    """

    missing: bool = False
    broken: Exception | None = None
    opening: Exception | None = None
    running: Exception | None = None
    silent: bool = False
    idle: bool = False
    devices: int = 1
    version: str = "2026.4.1-1"


def install(monkeypatch: pytest.MonkeyPatch, row: Provider, trouble: Trouble) -> None:
    """Put the doubles in the place of what is installed, for one test."""
    runtime = _OnnxRuntime(row, trouble)
    monkeypatch.setattr(session, "onnxruntime", runtime)
    monkeypatch.setattr(plugins, "onnxruntime", runtime)
    plugins._register.cache_clear()
    if row.source is Source.BUILD:
        return
    modules = [_plugin(row)] if row.source is Source.PLUGIN else _openvino(row, trouble)
    # The double opens graphs that are on no disk.
    monkeypatch.setattr("decant.embedders.onnx.openvino.session.readable_file", nullcontext)
    for module in modules:
        found = None if trouble.missing else module
        monkeypatch.setitem(sys.modules, module.__name__, found)


class _OnnxRuntime:
    """The module."""

    __version__ = "1.31.1"

    def __init__(self, row: Provider, trouble: Trouble) -> None:
        self._row, self._trouble = row, trouble
        self._registered = False
        self.SessionOptions = _Options
        self.OrtValue = SimpleNamespace(ortvalue_from_numpy=lambda array: array)

    def get_available_providers(self) -> list[str]:
        built = [self._row.full_name] if self._row.source is Source.BUILD else []
        others = [CPU] if self._row.full_name != CPU else []
        return others if self._trouble.missing else [*built, *others]

    def preload_dlls(self) -> None:
        sys.stdout.write("Failed to load libcublasLt.so.12\n")  # as ONNX Runtime prints it

    def register_execution_provider_library(self, _name: str, _library: str) -> None:
        if self._trouble.broken is not None:
            raise self._trouble.broken
        self._registered = True

    def get_ep_devices(self) -> list[SimpleNamespace]:
        found = [self._row.full_name] * self._trouble.devices if self._registered else []
        return [
            SimpleNamespace(ep_name=name) for name in (*found, f"{self._row.full_name}.virtual")
        ]

    def InferenceSession(  # noqa: N802 - its name
        self, _path: str, options: _Options, **settings: Any
    ) -> _Session:
        assert settings["enable_fallback"] == 0, "an error would open the graph on the CPU"
        if self._trouble.opening is not None:
            raise self._trouble.opening
        asked = [name for name, _ in settings["providers"] or ()] or options.devices
        return _Session([*asked, *([] if CPU in asked else [CPU])], self._trouble)


@dataclass
class _Options:
    devices: list[str] = field(default_factory=list)
    entries: dict[str, str] = field(default_factory=dict)

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value

    def add_initializer(self, _name: str, _value: object) -> None:
        """Take an initializer."""

    def add_provider_for_devices(self, devices: list[SimpleNamespace], _: object) -> None:
        self.devices += [one.ep_name for one in devices]


class _Session:
    def __init__(self, providers: list[str], trouble: Trouble) -> None:
        self._providers, self._trouble = providers, trouble

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in ("input_ids", "attention_mask")]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="sentence_embedding", shape=["B", WIDTH])]

    def get_overridable_initializers(self) -> list[SimpleNamespace]:
        return []

    def get_providers(self) -> list[str]:
        return [CPU] if self._trouble.silent else self._providers

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        nodes = {self._providers[0]: 0 if self._trouble.idle else 7, CPU: 3}
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda count=count: ["node"] * count)
            for name, count in nodes.items()
        ]

    def run(self, names: list[str], feeds: dict[str, Any]) -> list[Any]:
        if self._trouble.running is not None:
            raise self._trouble.running
        return [np.zeros((len(feeds["input_ids"]), WIDTH), np.float32) for _ in names]

    def io_binding(self) -> _Binding:
        return _Binding()

    def run_with_iobinding(self, binding: _Binding) -> None:
        binding.found = self.run(binding.names, binding.feeds)


class _Binding:
    def __init__(self) -> None:
        self.feeds: dict[str, Any] = {}
        self.names: list[str] = []
        self.found: list[Any] = []

    def bind_cpu_input(self, name: str, array: Any) -> None:
        self.feeds[name] = array

    def bind_output(self, name: str, _memory: str, _device: int) -> None:
        self.names.append(name)

    def copy_outputs_to_cpu(self) -> list[Any]:
        return self.found


def _plugin(row: Provider) -> ModuleType:
    module = _module(row.package)
    vars(module)["get_library_path"] = lambda: "/lib/plugin.so"
    return module


def _module(name: str) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    return module


def _openvino(row: Provider, trouble: Trouble) -> list[ModuleType]:
    """Return the package and its modules that sessions import."""
    package, frontend, onnx, operators = (
        _module(f"openvino{part}") for part in ("", ".frontend", ".frontend.onnx", ".opset13")
    )
    vars(onnx)["ConversionExtension"] = lambda *parts: parts
    floats = SimpleNamespace(f32=SimpleNamespace(to_dtype=lambda: np.dtype(np.float32)))
    vars(package).update(frontend=frontend, opset13=operators, Core=lambda: _Core(row, trouble))
    vars(package)["Type"] = floats
    if trouble.broken is None:  # without a version it is what an interrupted installation leaves
        vars(package)["__version__"] = trouble.version
    return [package, frontend, onnx, operators]


class _Core:
    def __init__(self, row: Provider, trouble: Trouble) -> None:
        self._trouble = trouble
        self.available_devices = [row.device] * trouble.devices

    def get_property(self, device: str, name: str) -> str:
        """Return the device's name.

        Raises:
            RuntimeError: There is none.
        """
        assert name == "FULL_DEVICE_NAME"
        if device.partition(".")[0] not in self.available_devices:
            raise RuntimeError(f"Device with {device} name is not registered")
        return device

    def add_extension(self, _extensions: object) -> None:
        """Take extensions."""

    def read_model(self, _path: str) -> SimpleNamespace:
        return SimpleNamespace(
            inputs=[], get_ordered_ops=list, get_results=list, get_parameters=list
        )

    def compile_model(self, _model: object, _device: str, _settings: object) -> _Compiled:
        if self._trouble.opening is not None:
            raise self._trouble.opening
        return _Compiled(self._trouble)


class _Compiled:
    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble
        self.inputs = [_port("input_ids"), _port("attention_mask")]
        self.outputs = [_port("sentence_embedding")]

    def get_runtime_model(self) -> SimpleNamespace:
        return SimpleNamespace(get_ordered_ops=list)

    def create_infer_request(self) -> _Compiled:
        return self

    def infer(self, feeds: dict[str, Any], **_: bool) -> dict[str, Any]:
        if self._trouble.running is not None:
            raise self._trouble.running
        return {"sentence_embedding": np.zeros((len(feeds["input_ids"]), WIDTH), np.float32)}


def _port(name: str) -> SimpleNamespace:
    return SimpleNamespace(get_any_name=lambda: name, partial_shape=[])
