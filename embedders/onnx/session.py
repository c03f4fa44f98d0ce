"""The module that opens graphs in ONNX Runtime: providers, sessions, running a batch.

:func:`open_session` takes OpenVINO instead where that is the provider.

You get the execution provider that you asked for, or a :class:`ProviderError`. CUDA falls back to
the CPU provider for shape arithmetic, as ONNX Runtime requires, and TensorRT to both;
:func:`placement` shows which provider ran which nodes. A forked child opens its graphs again.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from ..bundle.file_list import CheckedFile, check_not_replaced
from ..encoding.outputs import PRESENT, PROMPT, PROMPT_ROWS
from ..errors import ProviderError
from ..forks import end_without_destructors, leave_behind, renew_after_fork
from .int8_saturation import int8_products_saturate
from .node_profile import NodeRun, read_profile
from .openvino.session import OpenVinoSession, openvino_layers
from .providers.failures import (
    Attempt,
    check_runs_there,
    first_words,
    import_runtime,
    opening_error,
    running_error,
)
from .providers.graph_session import GraphFile, GraphSession
from .providers.options import available_cores
from .providers.plugins import add_plugin, installed_plugins
from .providers.table import CPU, PROVIDERS, Provider, Source, find_provider

if TYPE_CHECKING:
    import onnxruntime

    from ..tokens.rows import TokenBatch
else:
    onnxruntime = import_runtime("onnxruntime", extra="cpu")

# ONNX Runtime's error for an int8 matrix that several nodes share, on x86 without VNNI.
_SHARED_INT8 = "Attempt to replace the existing tensor"
# Held while a provider that bears one thread at a time runs a batch or opens a graph.
_TURN = Lock()


class Session(GraphSession):
    """A graph that is open in ONNX Runtime; safe to run from several threads.

    On the CPU, a forked child opens the file again at its first run, because the parent's session
    waits for threads that a child does not have. On a GPU the child is refused, because CUDA cannot
    be used on both sides of a fork.

    Args:
        path: The ONNX file.
        provider: ONNX Runtime's full name, for example ``CPUExecutionProvider``.
        device: The GPU's number.
        threads: Cores that one run uses on the CPU; None uses all.
        files: The file and its weights as they were checked; empty if they were not checked.

    Attributes:
        inputs: Names of the graph's inputs.
        outputs: Names of the graph's outputs.
        shapes: The shape of each output; a dynamic size is a name.
        takes_prompts: Whether texts can go on from a prompt's states.

    Raises:
        ProviderError: The provider is not installed, cannot start, or is not the one that would
            run.
        BundleError: The files changed since they were checked.
    """

    def __init__(
        self,
        path: Path,
        provider: str,
        *,
        device: int = 0,
        threads: int | None = None,
        files: Sequence[CheckedFile] = (),
    ) -> None:
        self._path = path.absolute()
        self.provider = provider
        self._row = find_provider(provider)
        self.files = tuple(files)
        self._device = device
        self.threads = threads or available_cores()
        self._opening = Lock()
        session = self._open()
        self._session: onnxruntime.InferenceSession | None = session
        self.inputs = [item.name for item in session.get_inputs()]
        self.shapes = {item.name: item.shape for item in session.get_outputs()}
        optional = [item.name for item in session.get_overridable_initializers()]
        self.takes_prompts = provider == CPU and PROMPT in optional
        renew_after_fork(self)

    def twin(self, *, threads: int, workers: int = 1) -> Self:  # noqa: ARG002 - it needs no limit
        """Open the same graph once more; see :meth:`GraphSession.twin`."""
        return type(self)(self._path, self.provider, threads=threads, files=self.files)

    def renew(self) -> None:
        """Open the graph again at its next run; called in a forked child."""
        leave_behind(self._session)
        end_without_destructors()
        self._session = None
        self._opening = Lock()

    def running(self) -> onnxruntime.InferenceSession:
        """Return ONNX Runtime's own session; a forked child opens the graph again first.

        Raises:
            ProviderError: The graph is on a GPU, and this process is a forked child.
        """
        session = self._session
        if session is not None:
            return session
        with self._opening:
            if self._session is None:
                if not self._row.survives_fork:
                    raise ProviderError(
                        f"{self._path} was opened on {self.provider} before this process was "
                        "forked, and its device cannot be used on both sides of a fork; load the "
                        "bundle in the child alone, or start children by 'spawn'"
                    )
                self._session = self._open()
            return self._session

    def _open(self) -> onnxruntime.InferenceSession:
        check_not_replaced(self.files)  # our error for a missing file is clearer
        with self._turn():
            session = _open(self._path, self._row, self._device, self.threads)
        check_not_replaced(self.files)
        return session

    def outputs_of(self, batch: TokenBatch, names: Sequence[str]) -> list[NDArray[np.generic]]:
        """Return the named outputs for a batch; ``present_states`` are those of its first row.

        Raises:
            ProviderError: The provider does not run the graph on its device, or not this batch.
        """
        session = self.running()
        feeds = {name: getattr(batch, name) for name in self.inputs}
        if batch.prompt_states is not None:
            feeds[PROMPT] = batch.prompt_states
        if PRESENT in names:
            feeds[PROMPT_ROWS] = np.zeros(1, np.int64)
        try:
            with self._turn():
                return self._values_of(session, feeds, names)
        except Exception as error:  # ONNX Runtime's errors share no base class
            attempt = _attempt(self._row, self._path)
            raise running_error(attempt, error, shape=batch.input_ids.shape) from error

    def _turn(self) -> contextlib.AbstractContextManager[object]:
        return _TURN if self._row.one_at_a_time else contextlib.nullcontext()

    def _values_of(
        self,
        session: onnxruntime.InferenceSession,
        feeds: dict[str, NDArray[np.generic]],
        names: Sequence[str],
    ) -> list[NDArray[np.generic]]:
        if not (memory := self._row.binds_outputs_to):
            return [np.asarray(value) for value in session.run(names, feeds)]
        # The provider allocates outputs on the device, and only the named ones are copied, so token
        # embeddings that nobody requested stay there.
        binding = session.io_binding()
        try:
            for name, array in feeds.items():
                binding.bind_cpu_input(name, array)
            for name in names:
                binding.bind_output(name, memory, self._device)
            session.run_with_iobinding(binding)
            return [np.asarray(value) for value in binding.copy_outputs_to_cpu()]
        finally:
            # The traceback of an error would keep it beyond its session, which ends the process.
            del binding


def open_session(
    graph: GraphFile,
    provider: str,
    *,
    device: int = 0,
    threads: int | None = None,
    workers: int = 1,
) -> GraphSession:
    """Open a graph in the runtime of a provider.

    Args:
        graph: The file, and the precision in which it runs.
        provider: The provider's full name.
        device: The GPU's number.
        threads: Cores that one run uses on the CPU; None uses all.
        workers: Runs at the same time.

    Raises:
        MissingExtra: The provider's own runtime is not installed.
        ProviderError: The provider is not installed, cannot start, or is not the one that would
            run.
        BundleError: The files changed since they were checked.
    """
    if find_provider(provider).source is Source.RUNTIME:
        return OpenVinoSession(graph, provider, device=device, threads=threads, workers=workers)
    return Session(graph.path, provider, device=device, threads=threads, files=graph.files)


def provider_name(name: str) -> str:
    """Return ONNX Runtime's name for ``cpu``, ``cuda``, ``tensorrt``, … or a full name.

    Raises:
        ProviderError: No provider has this name.

    >>> provider_name("cuda")
    'CUDAExecutionProvider'
    """
    return find_provider(name).full_name


def installed_providers() -> list[str]:
    """Return the full names of ONNX Runtime's providers, of its plugins, and other runtimes."""
    built_in = onnxruntime.get_available_providers()
    return [*built_in, *(name for name in installed_plugins() if name not in built_in)]


def candidates() -> list[str]:
    """Return the installed providers that ``auto`` tries, best first; the CPU is the last."""
    installed = installed_providers()
    automatic = [row.full_name for row in PROVIDERS if row.is_automatic]
    return [name for name in automatic if name in installed]


def placement(path: Path, provider: str, batch: TokenBatch) -> dict[str, Counter[str]]:
    """Run ``batch`` once and return, for each provider, how many nodes of which operator it ran.

    This is read from ONNX Runtime's own profile, so it shows what really ran.

    Raises:
        ProviderError: The provider does not open the graph.
    """
    if find_provider(provider).source is Source.RUNTIME:
        return {provider: openvino_layers(path, provider)}  # it runs all of a graph or none
    found: dict[str, Counter[str]] = {}
    for run in profile(path, provider, batch):
        found.setdefault(run.provider, Counter())[run.operator] += 1
    return found


def profile(path: Path, provider: str, batch: TokenBatch, *, runs: int = 1) -> list[NodeRun]:
    """Run ``batch`` some times on one thread and return what ONNX Runtime's own profile holds.

    Args:
        path: The ONNX file.
        provider: The full name of a provider of ONNX Runtime.
        batch: The batch.
        runs: How often it runs; the nodes of all runs are returned, in order.

    Raises:
        ProviderError: The provider does not open the graph.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = _open(path, find_provider(provider), 0, 1, profile=Path(folder) / "profile")
        feeds = {item.name: getattr(batch, item.name) for item in session.get_inputs()}
        for _ in range(runs):
            session.run(None, feeds)
        return read_profile(Path(session.end_profiling()))


def _open(
    path: Path, row: Provider, device: int, threads: int, *, profile: Path | None = None
) -> onnxruntime.InferenceSession:
    installed = installed_providers()
    if row.full_name not in installed:
        raise ProviderError(
            f"{row.full_name} is not installed (onnxruntime {onnxruntime.__version__} has "
            f"{', '.join(installed)}); install: {row.advice}, or pass provider='cpu'"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, not written to the terminal
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle workers would otherwise spin and take the cores of tokenising and of other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # On x86 without VNNI the product of uint8 and int8 saturates at 16 bits, and int8 graphs give
    # other vectors than they were certified with; ONNX Runtime then makes the weights uint8. It
    # does so on AVX-512 with VNNI, too, where nothing saturates and int8 takes twice as long, so
    # the option is set only where it is needed. (Version 1.29 aborts the process in this
    # rewriting.)
    if row.full_name != CPU or int8_products_saturate():
        options.add_session_config_entry("session.x64quantprecision", "1")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    # The options refer to these values and do not hold them: they live until the session is made.
    constants = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(np.array(value, np.int64))
        for name, value in row.constants
    }
    for name, constant in constants.items():
        options.add_initializer(name, constant)
    wanted = row.session_options(path, device)
    if row.source is Source.PLUGIN and row.full_name not in onnxruntime.get_available_providers():
        add_plugin(options, row, device, row.options(path, device))
        wanted = []
    if row.full_name != CPU:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    attempt = _attempt(row, path)
    # What is found of CUDA's libraries, and what is not, is printed; the code below raises errors.
    with contextlib.redirect_stdout(io.StringIO()):
        if row.preloads:
            # Finds the CUDA libraries of the nvidia-* wheels or of torch.
            onnxruntime.preload_dlls()
        try:
            session = onnxruntime.InferenceSession(
                str(path),
                options,
                providers=wanted or None,
                disabled_optimizers=list(row.slow_fusions) or None,
                enable_fallback=0,  # it would open the graph on the CPU after an error
            )
        except Exception as error:  # its errors share no base class
            raise opening_error(attempt, error, said=_said(error)) from error
    check_runs_there(attempt, session.get_providers(), _nodes(session, row))
    return session


def _nodes(session: onnxruntime.InferenceSession, row: Provider) -> dict[str, int]:
    """Return how many nodes each provider was given; empty on the CPU, where there is no other."""
    if row.full_name == CPU:
        return {}
    found: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        found[part.ep_name] += len(part.get_nodes())
    return dict(found)


def _attempt(row: Provider, path: Path) -> Attempt:
    return Attempt(row=row, path=path, runtime=f"onnxruntime {onnxruntime.__version__}")


def _said(error: Exception) -> str:
    if _SHARED_INT8 in str(error):
        return (
            "this processor needs weights of the model in uint8 that an earlier decant wrote as "
            "int8; convert the bundle to int8 again"
        )
    return first_words(error)
