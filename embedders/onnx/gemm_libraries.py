"""The libraries whose matrix products are timed: ONNX Runtime, NumPy, torch, OpenVINO.

ONNX Runtime and OpenVINO open their sessions as encoding does, with the same threads. NumPy and
torch are timed where they are installed; neither is needed. A library says which precisions it
multiplies in, and gives a call for each worker; two calls of two workers may run at the same time.
"""

from __future__ import annotations

import importlib.util
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import numpy as np
from numpy.typing import NDArray

from ..bundle.precision import Precision
from ..errors import need
from .node_profile import Product
from .openvino.session import OpenVinoSession
from .product_graph import RESULT, STATES, product_graph
from .providers.graph_session import GraphFile
from .providers.machine import unsupported
from .providers.options import Settled, available_cores
from .providers.table import CPU, OPENVINO, find_provider
from .session import Session

if TYPE_CHECKING:
    import onnxruntime

Call = Callable[[], object]
_SEED = 0


class GemmLibrary(ABC):
    """A library that multiplies matrices.

    Attributes:
        name: The package's name.
    """

    name: str

    @abstractmethod
    def why_not(self, precision: Precision, settings: Settled) -> str:
        """Return why it is not timed here in a precision; empty if it is."""

    @abstractmethod
    def calls(self, product: Product, precision: Precision, settings: Settled) -> list[Call]:
        """Return a call for each worker, which multiplies (token_budget, k) by (k, n) once.

        A library that divides the cores itself returns one call for all workers.
        """


class OnnxRuntimeGemm(GemmLibrary):
    """MatMul in float32, MatMulInteger of uint8 by int8; outputs are bound, not allocated."""

    name = "onnxruntime"

    def why_not(self, precision: Precision, settings: Settled) -> str:  # noqa: ARG002
        """Return why it is not timed: on CPUs, it has no product of bfloat16."""
        return "" if precision in (Precision.FP32, Precision.INT8) else f"no {precision} on CPUs"

    def calls(self, product: Product, precision: Precision, settings: Settled) -> list[Call]:
        """Return a call for each worker; all run one session, as the batches of an encoder do."""
        integers = precision is Precision.INT8
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "product.onnx"
            path.write_bytes(product_graph(_weights(product, integers=integers)))
            session = Session(path, CPU, threads=settings.threads).running()
        states = _states(settings.token_budget, product.k, integers=integers)
        kind: np.dtype[np.generic] = np.dtype("int32" if integers else "float32")
        found: list[Call] = []
        for _ in range(settings.workers):
            binding = session.io_binding()
            binding.bind_cpu_input(STATES, states)
            result = np.empty((settings.token_budget, product.n), kind)
            binding.bind_output(RESULT, "cpu", 0, result.dtype, result.shape, result.ctypes.data)
            found.append(_bound(session, binding, (states, result)))
        return found


class NumpyGemm(GemmLibrary):
    """NumPy's product, whose BLAS divides the cores itself."""

    name = "numpy"

    def why_not(self, precision: Precision, settings: Settled) -> str:
        """Return why it is not timed: it has float32 alone, and takes every core."""
        if precision is not Precision.FP32:
            return f"no {precision}"
        if settings.lone_threads != available_cores():
            return "takes every core, and the settings do not"
        return ""

    def calls(self, product: Product, precision: Precision, settings: Settled) -> list[Call]:  # noqa: ARG002
        """Return one call, on every core."""
        rows = settings.token_budget * settings.workers
        states = _states(rows, product.k, integers=False)
        weights = _weights(product, integers=False)
        result = np.empty((rows, product.n), np.float32)
        return [lambda: np.matmul(states, weights, out=result)]


class TorchGemm(GemmLibrary):
    """torch's product; it divides the cores itself, as NumPy's does."""

    name = "torch"

    def why_not(self, precision: Precision, settings: Settled) -> str:
        """Return why it is not timed: not installed, or the precision, or the cores."""
        if importlib.util.find_spec("torch") is None:
            return "not installed"
        if precision not in (Precision.FP32, Precision.BF16):
            return f"no {precision}"
        if settings.lone_threads != available_cores():
            return "takes every core, and the settings do not"
        return ""

    def calls(self, product: Product, precision: Precision, settings: Settled) -> list[Call]:
        """Return one call, on every core."""
        torch = need("torch", extra="export")
        kind = torch.bfloat16 if precision is Precision.BF16 else torch.float32
        rows = settings.token_budget * settings.workers
        states = torch.from_numpy(_states(rows, product.k, integers=False)).to(kind)
        weights = torch.from_numpy(_weights(product, integers=False)).to(kind)
        result = torch.empty((rows, product.n), dtype=kind)
        return [lambda: torch.mm(states, weights, out=result)]


class OpenVinoGemm(GemmLibrary):
    """OpenVINO's product in float32 and, where the processor multiplies in it, in bfloat16."""

    name = "openvino"

    def why_not(self, precision: Precision, settings: Settled) -> str:  # noqa: ARG002
        """Return why it is not timed: not installed, or the precision."""
        if importlib.util.find_spec("openvino") is None:
            return "not installed"
        if precision not in (Precision.FP32, Precision.BF16):
            return f"no {precision}"
        return unsupported(find_provider(OPENVINO), precision)

    def calls(self, product: Product, precision: Precision, settings: Settled) -> list[Call]:
        """Return a call for each worker, each with a request of its own."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "product.onnx"
            path.write_bytes(product_graph(_weights(product, integers=False)))
            session = OpenVinoSession(
                GraphFile(path=path, precision=precision),
                OPENVINO,
                threads=settings.threads,
                workers=settings.workers,
            )
            requests = [session.new_request() for _ in range(settings.workers)]
        states = _states(settings.token_budget, product.k, integers=False)

        def call(place: int) -> Call:
            request = requests[place]
            return lambda: request.infer([states], share_inputs=True, share_outputs=True)

        return [call(place) for place in range(settings.workers)]


LIBRARIES: tuple[GemmLibrary, ...] = (
    OnnxRuntimeGemm(),
    NumpyGemm(),
    TorchGemm(),
    OpenVinoGemm(),
)
"""Every library, in the order in which they are timed."""


def multiplied_in(precision: Precision) -> Precision:
    """Return the precision in which a graph's products are computed.

    w8 and w4 multiply their weights by activations in integers
    (``decant.export.quantize.weight_only``), and fp16 runs in float32 on CPUs.
    """
    match precision:
        case Precision.INT8 | Precision.W8 | Precision.W4:
            return Precision.INT8
        case Precision.BF16:
            return Precision.BF16
        case Precision.FP32 | Precision.FP16:
            return Precision.FP32
    assert_never(precision)


def _bound(
    session: onnxruntime.InferenceSession,
    binding: onnxruntime.IOBinding,
    arrays: tuple[NDArray[np.generic], ...],
) -> Call:
    """Return a call that runs a session on bound arrays, which a binding alone does not hold."""

    def call() -> tuple[NDArray[np.generic], ...]:
        session.run_with_iobinding(binding)
        return arrays

    return call


def _states(rows: int, width: int, *, integers: bool) -> NDArray[np.generic]:
    drawn = np.random.default_rng(_SEED)
    if integers:
        return drawn.integers(0, 256, (rows, width)).astype(np.uint8)
    return drawn.standard_normal((rows, width)).astype(np.float32)


def _weights(product: Product, *, integers: bool) -> NDArray[np.generic]:
    drawn = np.random.default_rng(_SEED)
    shape = product.k, product.n
    if integers:
        return drawn.integers(-127, 128, shape).astype(np.int8)
    return drawn.standard_normal(shape).astype(np.float32)
