"""The module that runs OpenVINO: it reads a bundle's graph itself, without ONNX Runtime.

The graph's file is the one that was certified; OpenVINO compiles it for this processor each time it
is opened, in float32 or, with weights and products rounded to bfloat16, as the precision ``bf16``.
Compiled graphs are not kept on disk: they would decide vectors, and no hash would guard them.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ...bundle.file_list import check_not_replaced
from ...bundle.precision import Precision
from ...errors import ProviderError
from ...forks import end_without_destructors, leave_behind, renew_after_fork
from ..providers.failures import (
    Attempt,
    broken_package,
    opening_error,
    running_error,
)
from ..providers.graph_session import GraphFile, GraphSession
from ..providers.machine import unsupported
from ..providers.options import available_cores
from ..providers.table import Provider, find_provider
from .operators import (
    SINGLE_OPERATOR_ATTENTION,
    always_read_the_mask,
    operator_extensions,
)
from .optional_inputs import drop_prompts, readable_file
from .package import has_device, openvino_core, openvino_package, version_of
from .unread_form import UnreadForm

if TYPE_CHECKING:
    import openvino

    from ...tokens.rows import TokenBatch

# How the summary of its errors begins: operators that are unknown, or known in another form.
_UNREAD = ("No conversion rule found for operations: ", "Conversion is failed for: ")
# What our own reading of an operator does not cover.
_REFUSED = re.compile(rf"{UnreadForm.__name__}: (.+)")


class OpenVinoSession(GraphSession):
    """A graph that is open in OpenVINO; safe to run from several threads.

    A forked child compiles the graph again at its first run. Two sessions of a process share its
    cores as any threads do: none is bound to a core.

    Args:
        graph: The file, and the precision in which it is computed.
        provider: The full name, for example ``OpenVINO``.
        device: The GPU's number, where the provider runs on one.
        threads: Cores that one run uses on the CPU; None uses all.
        workers: Runs at the same time, each on ``threads`` cores; more of them wait.

    Raises:
        MissingExtra: The package is not installed.
        ProviderError: It is broken or too old, finds no such device, does not read the graph, or
            this processor would emulate the precision.
        BundleError: The files changed since they were checked.
    """

    def __init__(
        self,
        graph: GraphFile,
        provider: str,
        *,
        device: int = 0,
        threads: int | None = None,
        workers: int = 1,
    ) -> None:
        self._graph = graph
        self.provider = provider
        self._row = find_provider(provider)
        self.files = graph.files
        self._device = device
        self.threads = threads or available_cores()
        self._workers = workers
        self.takes_prompts = False
        self._opening = Lock()
        self._free: deque[openvino.InferRequest] = deque()
        compiled = self._open()
        self._compiled: openvino.CompiledModel | None = compiled
        self.inputs = [port.get_any_name() for port in compiled.inputs]
        self.shapes = {
            port.get_any_name(): [
                size.get_length() if size.is_static else None for size in port.partial_shape
            ]
            for port in compiled.outputs
        }
        renew_after_fork(self)

    def twin(self, *, threads: int, workers: int) -> Self:
        """Open the same graph once more; see :meth:`GraphSession.twin`."""
        return type(self)(
            self._graph, self.provider, device=self._device, threads=threads, workers=workers
        )

    def renew(self) -> None:
        """Compile the graph again at its next run; called in a forked child."""
        leave_behind(self._compiled)
        leave_behind(self._free)
        end_without_destructors()
        self._compiled, self._free, self._opening = None, deque(), Lock()

    def outputs_of(self, batch: TokenBatch, names: Sequence[str]) -> list[NDArray[np.generic]]:
        """Return the named outputs for a batch; see :meth:`GraphSession.outputs_of`."""
        feeds = {name: getattr(batch, name) for name in self.inputs}
        compiled = self._running()
        try:
            request = self._request(compiled)
            # Views of the request's memory; what was asked for is copied before it runs again.
            found = request.infer(feeds, share_inputs=True, share_outputs=True)
            values = [np.array(found[name]) for name in names]
        except (RuntimeError, MemoryError) as error:
            attempt = _attempt(self._row, self._graph.path)
            raise running_error(
                attempt, error, shape=batch.input_ids.shape, said=_first(error)
            ) from error
        self._free.append(request)
        return values

    def new_request(self) -> openvino.InferRequest:
        """Return a request of the compiled graph; two requests may run at the same time."""
        return self._running().create_infer_request()

    def layers(self) -> Counter[str]:
        """Return how many layers of which kind the compiled graph has."""
        return _layers(self._running())

    def _request(self, compiled: openvino.CompiledModel) -> openvino.InferRequest:
        try:
            return self._free.pop()
        except IndexError:
            return compiled.create_infer_request()

    def _running(self) -> openvino.CompiledModel:
        compiled = self._compiled
        if compiled is not None:
            return compiled
        with self._opening:
            if self._compiled is None:
                self._compiled = self._open()
            return self._compiled

    def _open(self) -> openvino.CompiledModel:
        check_not_replaced(self.files)
        if reason := unsupported(self._row, self._graph.precision):
            raise ProviderError(reason)
        compiled = _compile(self._graph.path, self._row, self._device, self._settings())
        check_not_replaced(self.files)
        return compiled

    def _settings(self) -> dict[str, str | int | bool]:
        """Return OpenVINO's properties; what is set here is not left to its performance hints."""
        in_bf16 = self._graph.precision is Precision.BF16
        settings: dict[str, str | int | bool] = {
            "INFERENCE_PRECISION_HINT": "bf16" if in_bf16 else "f32"
        }
        if self._row.is_cpu:
            settings |= {
                "NUM_STREAMS": self._workers,
                "INFERENCE_NUM_THREADS": self._workers * self.threads,
                # Sessions that bind their threads to cores would all begin with the first core.
                "ENABLE_CPU_PINNING": False,
                # Activations stay in float32 behind weights in integers, as certified elsewhere.
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            }
        return settings


def openvino_layers(path: Path, provider: str) -> Counter[str]:
    """Return how many layers of which kind OpenVINO makes of a graph.

    Raises:
        MissingExtra: The package is not installed.
        ProviderError: It does not open the graph.
    """
    graph = GraphFile(path=path, precision=Precision.FP32)
    return OpenVinoSession(graph, provider, threads=1).layers()


def _compile(
    path: Path, row: Provider, device: int, settings: dict[str, str | int | bool]
) -> openvino.CompiledModel:
    package = openvino_package()
    wanted = row.device if row.is_cpu else f"{row.device}.{device}"
    try:
        core = openvino_core(package, operator_extensions)
    except RuntimeError as error:
        raise broken_package("openvino", error) from error
    if not has_device(core, wanted):
        found = ", ".join(core.available_devices) or "none"
        raise ProviderError(
            f"{row.full_name} finds no device {wanted} here, only {found}; look after the driver, "
            "or pass provider='cpu'"
        )
    try:
        with readable_file(path) as file:
            model = core.read_model(str(file))
        always_read_the_mask(model)
        drop_prompts(model)
        compiled = core.compile_model(model, wanted, settings)
    except ProviderError:
        raise
    except (RuntimeError, MemoryError) as error:
        raise opening_error(_attempt(row, path), error, said=_unread(error)) from error
    if SINGLE_OPERATOR_ATTENTION in _layers(compiled):
        # Seen in 2026.4: after a text of one token, it gives a longer text another vector
        # (experiments/log/2026-11-30-openvino-on-the-cpu.md).
        raise ProviderError(
            f"{row.full_name} would run {path} with its operator {SINGLE_OPERATOR_ATTENTION}, "
            "whose results depend on the batch before; pass provider='cpu'"
        )
    return compiled


def _attempt(row: Provider, path: Path) -> Attempt:
    return Attempt(row=row, path=path, runtime=f"openvino {version_of(openvino_package())}")


def _layers(compiled: openvino.CompiledModel) -> Counter[str]:
    operators = compiled.get_runtime_model().get_ordered_ops()
    return Counter(str(one.get_rt_info()["layerType"].value) for one in operators)


def _unread(error: Exception) -> str:
    """Return OpenVINO's summary of the operators that it does not read, or its first words."""
    refused = _REFUSED.search(str(error))
    for line in str(error).splitlines():
        for beginning in _UNREAD:
            _, found, operators = line.partition(beginning)
            if found:
                reason = f" with {refused[1].strip()}" if refused else ""
                return f"it does not read {operators.strip()}{reason}"
    return _first(error)


def _first(error: Exception) -> str:
    """Return the line of an error that says what happened: OpenVINO begins with places."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Exception from", "Check "))]
    return (said or lines or [type(error).__name__])[0]
